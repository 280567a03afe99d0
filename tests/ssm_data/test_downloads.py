"""Downloads that break off or are not the published file; the hub's own client; the second source."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import datasets
import pytest
from ssm_data import DATASETS, DataError, Place, downloads
from ssm_data.datasets import cifar10, text
from ssm_data.datasets.text import Text

CONTENT = bytes(range(256)) * 5000


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


def test_no_connection_is_reported(tmp_path):
    source = downloads.Published("http://127.0.0.1:1/set.tar.gz", 1234, "0" * 32)
    with pytest.raises(DataError, match=r"set\.tar\.gz \(1,234 bytes\) cannot be downloaded"):
        downloads.download(source, tmp_path, progress=False)


def test_first_source_that_works_is_taken():
    def fail():
        raise DataError("The hub is away.")

    assert downloads.first_of([fail, lambda: 3], "Get it.") == 3
    with pytest.raises(DataError, match=r"The hub is away\. The hub is away\. Get it\."):
        downloads.first_of([fail, fail], "Get it.")


ROWS = {
    split: {"text": [f"{split} review {i}, naïve" for i in range(20)], "label": [i % 2 for i in range(20)]}
    for split in ("train", "test")
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder laid out as the hub lays out a data set, in place of the hub."""
    root = tmp_path / "hub" / "imdb"
    for split, rows in ROWS.items():
        path = root / "plain_text" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(rows).to_parquet(path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(text, "HUB", str(root))
    return root


def test_parquet_files_are_read(repository):
    rows = downloads.hub(str(repository), "train", ("text", "label"))
    assert list(rows["text"]) == ROWS["train"]["text"]
    reviews = text.read_hub()
    assert reviews["test"] == list(zip(ROWS["test"]["label"], ROWS["test"]["text"], strict=True))


def test_other_reviews_on_the_hub_are_refused(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "ORIGINAL", downloads.Published("http://127.0.0.1:1/aclImdb.tar.gz", 1, "0" * 32))
    with pytest.raises(DataError, match="does not hold the published reviews: 20 in train"):
        Text().prepare(Place(None, tmp_path / "prepared"), progress=False)


def test_a_missing_repository_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot be had from the hub"):
        downloads.hub(str(tmp_path / "nothing"), "train", ())


def test_a_repository_without_the_columns_is_refused(repository):
    with pytest.raises(DataError, match=r"has no column img and no column fine in train"):
        downloads.hub(str(repository), "train", ("text", "img", "fine"))


class Unsteady(BaseHTTPRequestHandler):
    """Stand-in for a hub that fails in the way that ``server.fault`` names."""

    def do_HEAD(self):
        self.server.asked += 1
        if self.server.fault == "drops at once" or (self.server.fault == "drops later" and self.server.asked > 1):
            self.connection.close()
            return
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        if self.server.fault.startswith("drops"):
            self.connection.close()
            return
        self.send_response(429 if self.server.fault == "is busy" else 200)
        self.end_headers()
        self.wfile.write(b"<html>please log in</html>")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("fault", ["drops at once", "drops later", "is busy", "sends a page"])
def test_if_the_hub_fails_the_original_is_tried(tmp_path, monkeypatch, fault):
    server = HTTPServer(("127.0.0.1", 0), Unsteady)
    server.fault, server.asked = fault, 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    original = downloads.Published("http://127.0.0.1:1/cifar-10-python.tar.gz", 1, "0" * 32)
    monkeypatch.setattr(cifar10, "ORIGINAL", original)
    with pytest.raises(DataError, match=r"cannot be had from the hub: .*127\.0\.0\.1:1/cifar.* cannot be downloaded"):
        DATASETS["image"]().prepare(Place(None, tmp_path), progress=False)
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_error_without_words_is_named_by_its_kind(monkeypatch):
    class Silent(Exception):
        pass

    def fail(*_, **__):
        raise Silent

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"some/thing cannot be had from the hub: Silent\."):
        downloads.hub("some/thing", "train", ())


def test_a_web_page_instead_of_a_file_is_named(tmp_path, server, monkeypatch):
    monkeypatch.setitem(globals(), "CONTENT", b"<html>please log in</html>" + bytes(100))
    source = downloads.Published(f"http://127.0.0.1:{server.server_port}/set.tar.gz", len(CONTENT), "0" * 32)
    server.allowed = len(CONTENT)
    with pytest.raises(DataError, match="gave a web page instead of the published file"):
        downloads.download(source, tmp_path, progress=False)
