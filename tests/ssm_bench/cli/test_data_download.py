"""``bench data get`` with originals from the network: a file that is not the published one, and the rerun."""

import gzip
import hashlib
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from ssm_bench.cli import main
from ssm_data import downloads
from ssm_data.datasets import mnist

GET = ["data", "get", "scifar", "--task", "smnist"]
SHAPES = {"train_images": (50, 28, 28), "train_labels": (50,), "test_images": (20, 28, 28), "test_labels": (20,)}


def idx(shape):
    values = np.random.default_rng(0).integers(0, 10, shape, dtype=np.uint8)
    header = struct.pack(">HBB", 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files[self.path]
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """Serves small files of MNIST, which count as the published ones."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, published = {}, [], {}
    for name, original in mnist.ORIGINALS.items():
        content = idx(SHAPES[name])
        server.files[f"/{original.name}"] = content
        url = f"http://127.0.0.1:{server.server_port}/{original.name}"
        published[name] = downloads.Published(url, len(content), hashlib.md5(content).hexdigest())
    monkeypatch.setattr(mnist, "ORIGINALS", published)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_wrong_checksum_is_a_sentence_and_a_rerun_succeeds(server, tmp_path, monkeypatch, capsys):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SSM_DATA_CACHE", str(cache))
    paths = list(server.files)
    right = server.files[paths[2]]
    server.files[paths[2]] = right[:-1] + bytes([right[-1] ^ 1])
    assert main(GET) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"{paths[2]} gave a file with md5" in said
    assert hashlib.md5(right).hexdigest() in said
    assert "--data" in said
    assert server.asked == paths[:3]
    assert not list(cache.rglob("meta.json"))
    assert sorted(path.name for path in cache.glob("*.gz*") if path.suffix != ".lock") == sorted(
        path[1:] for path in paths[:2]
    )
    server.files[paths[2]] = right
    assert main(GET) == 0
    assert server.asked == [*paths[:3], *paths[2:]]
    assert main(["data", "verify", *GET[2:]]) == 0
    assert len(list(cache.rglob("meta.json"))) == 1
