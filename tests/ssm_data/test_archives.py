"""Archives that are broken or hostile, and downloads that break off."""

import hashlib
import io
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ssm_data import DataError, archives, downloads

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
def test_truncated_archive_is_a_sentence(tmp_path, suffix, mode):
    content = hashlib.shake_256(b"noise").digest(300_000)
    path = pack(tmp_path / f"set{suffix}", {"1.txt": content, "2.txt": content}, mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"set{suffix}.*truncated or broken"):
        list(archives.read_archive(path, "*.txt"))


def test_what_is_no_archive_is_a_sentence(tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="truncated or broken"):
        list(archives.read_archive(path, "*"))


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
    with pytest.raises(DataError, match="too large"):
        list(archives.read_archive(path, "*.txt"))


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; breaks off after ``server.allowed`` bytes of a reply; notes the ranges asked for."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.resumable else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:][: self.server.allowed])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Server)
    server.ranges, server.allowed, server.resumable = [], len(CONTENT), True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def published(server, md5=None):
    url = f"http://127.0.0.1:{server.server_port}/set.tar.gz"
    return downloads.Published(url, len(CONTENT), md5 or hashlib.md5(CONTENT).hexdigest())


@pytest.mark.parametrize("resumable", [True, False])
def test_broken_download_goes_on(tmp_path, server, resumable):
    server.allowed, server.resumable = 500_000, resumable
    with pytest.raises(DataError, match="cannot be downloaded"):
        downloads.download(published(server), tmp_path, progress=False)
    assert not (tmp_path / "set.tar.gz").exists()
    server.allowed = len(CONTENT)
    assert downloads.download(published(server), tmp_path, progress=False).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=500000-"]
    downloads.download(published(server), tmp_path, progress=False)
    assert len(server.ranges) == 2


def test_a_bar_tells_how_far_a_download_is(tmp_path, server, capsys):
    server.allowed = 500_000
    with pytest.raises(DataError):
        downloads.download(published(server), tmp_path, progress=True)
    assert re.search(r"set\.tar\.gz .* 0\.5/1\.3 MB", capsys.readouterr().err)
    server.allowed = len(CONTENT)
    downloads.download(published(server), tmp_path, progress=True)
    assert re.search(r"set\.tar\.gz .* 1\.3/1\.3 MB", capsys.readouterr().err)
    downloads.download(published(server), tmp_path / "quiet", progress=False)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_wrong_checksum_is_refused_and_not_kept(tmp_path, server):
    with pytest.raises(DataError, match="md5"):
        downloads.download(published(server, md5="0" * 32), tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_no_connection_is_a_sentence(tmp_path):
    source = downloads.Published("http://127.0.0.1:1/set.tar.gz", 1234, "0" * 32)
    with pytest.raises(DataError, match=r"set\.tar\.gz \(1,234 bytes\) cannot be downloaded"):
        downloads.download(source, tmp_path, progress=False)


def test_first_source_that_works_is_taken():
    def fail():
        raise DataError("The hub is away.")

    assert downloads.first_of([fail, lambda: 3], "Get it.") == 3
    with pytest.raises(DataError, match=r"The hub is away\. The hub is away\. Get it\."):
        downloads.first_of([fail, fail], "Get it.")
