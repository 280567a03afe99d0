"""Archives that are broken or hostile, and downloads that break off."""

import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest
from ssm_data import DataError, archives

CONTENT = bytes(range(256)) * 5000


def pack(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(("suffix", "mode"), [(".tar.gz", "w:gz"), (".tar.xz", "w:xz"), (".tar", "w")])
def test_reads_members(tmp_path, suffix, mode):
    path = pack(tmp_path / f"set{suffix}", {"a/1.txt": b"one", "a/2.bin": b"two", "b/3.txt": b""}, mode)
    assert dict(archives.read_archive(path, "*.txt")) == {"a/1.txt": b"one", "b/3.txt": b""}
    assert archives.archive(tmp_path, ["other", "set"]) == path


@pytest.mark.parametrize(("suffix", "mode"), [(".tar.gz", "w:gz"), (".tar.xz", "w:xz"), (".tar", "w")])
def test_a_truncated_archive_is_refused(tmp_path, suffix, mode):
    content = hashlib.shake_256(b"noise").digest(300_000)
    path = pack(tmp_path / f"set{suffix}", {"1.txt": content, "2.txt": content}, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"set{suffix}.*truncated or broken"):
        list(archives.read_archive(path, "*.txt"))


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(b"not found")
    with pytest.raises(DataError, match="truncated or broken"):
        list(archives.read_archive(path, "*"))


@pytest.mark.parametrize("name", ["set.tar.gz", "set.zip", "set.tar"])
@pytest.mark.parametrize("page", [b"<html>please log in</html>", b"\n <!DOCTYPE html><html>"])
def test_a_web_page_is_named_as_such(tmp_path, name, page):
    (tmp_path / name).write_bytes(page)
    with pytest.raises(DataError, match=rf"{name} is a web page and no archive; its server may ask for a login"):
        archives.archive_names(tmp_path / name, "*")


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def patched(path, local, central):
    """Change a field of both headers of the first member of a zip archive, by (offset, bytes)."""
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for start, (offset, value) in ((0, local), (directory, central)):
        content[start + offset : start + offset + len(value)] = value
    path.write_bytes(content)
    return path


def test_zip_archives_that_python_cannot_read_are_named(tmp_path):
    path = zipped(tmp_path / "deflate64.zip", {"a.txt": b"one"})
    patched(path, (8, b"\x09\x00"), (10, b"\x09\x00"))
    with pytest.raises(DataError, match=r"deflate64\.zip is packed by a method .* unpack it, and name the folder"):
        list(archives.read_archive(path, "*"))
    path = zipped(tmp_path / "secret.zip", {"a.txt": b"one"})
    patched(path, (6, b"\x01"), (8, b"\x01"))
    with pytest.raises(DataError, match=r"secret\.zip is encrypted; unpack it"):
        list(archives.read_archive(path, "*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_reads_zip_members(tmp_path, method):
    path = zipped(tmp_path / "set.zip", {"a/1.txt": b"one" * 99, "b/2.bin": b"two"}, compression=method)
    assert dict(archives.read_archive(path, "*.txt")) == {"a/1.txt": b"one" * 99}
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated or broken"):
        list(archives.read_archive(path, "*.txt"))


def test_files_that_macos_adds_are_passed_over(tmp_path):
    members = {"set/a.txt": b"one", "set/._a.txt": b"\0\5", "__MACOSX/set/._a.txt": b"\0\5", "__MACOSX/a.txt": b"\0"}
    for path in (pack(tmp_path / "set.tar.gz", members), zipped(tmp_path / "set.zip", members)):
        assert dict(archives.read_archive(path, "*.txt")) == {"set/a.txt": b"one"}
        assert archives.archive_sizes(path, "*.txt") == [("set/a.txt", 3)]
    for name, content in members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert dict(archives.read_folder(tmp_path, "**/*.txt")) == {"set/a.txt": b"one"}


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".tar.xz", ".tar.bz2", ".zip"])
def test_mutated_archives_are_read_or_refused(tmp_path, suffix):
    """Bytes are changed at random; no error but DataError."""
    content = hashlib.shake_256(b"noise").digest(2_000)
    members = {f"a/{number}.txt": content[: 100 * number] for number in range(5)}
    path = tmp_path / f"set{suffix}"
    if suffix == ".zip":
        zipped(path, members)
    else:
        pack(path, members, f"w:{suffix.removeprefix('.tar').removeprefix('.')}")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            list(archives.read_archive(path, "*.txt"))
        except DataError:
            continue


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt cannot be read .*put the original file back"):
        archives.content_of(tmp_path / "none.txt")


@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "/tmp/outside.txt"])
def test_member_that_leaves_the_archive_is_refused(tmp_path, name):
    path = pack(tmp_path / "set.tar.gz", {"a.txt": b"fine", name: b"evil"})
    with pytest.raises(DataError, match="unsafe member"):
        list(archives.read_archive(path, "*.txt"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["set.tar.gz"]


def test_links_are_not_followed(tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a.txt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert list(archives.read_archive(path, "*.txt")) == []


def test_member_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 3)
    path = pack(tmp_path / "set.tar", {"a.txt": b"four"}, "w")
    with pytest.raises(DataError, match="no published archive does"):
        list(archives.read_archive(path, "*.txt"))
