"""MNIST is found, checked, downloaded and cached; no byte is used without its SHA-256."""

import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest

import npae
from npae.datasets import remote


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Four files like MNIST's, of three and two images; a cache folder of our own; no folder named."""
    rng, files = np.random.default_rng(0), {}
    for name, n in (("train", 3), ("t10k", 2)):
        files[f"{name}-images-idx3-ubyte"] = bytes(16) + rng.integers(0, 256, n * 784, dtype=np.uint8).tobytes()
        files[f"{name}-labels-idx1-ubyte"] = bytes(8) + rng.integers(0, 10, n, dtype=np.uint8).tobytes()
    digests = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    monkeypatch.setattr(remote, "FILES", digests)
    monkeypatch.setattr(remote, "TIMEOUT", 5.0)
    monkeypatch.setattr(remote, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("NPAE_DATA_DIR", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return files


@pytest.fixture
def mirror(small):
    """A server on loopback that gives the files away, or answers as `mirror.answer` says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            packed = gzip.compress(small[self.path.strip("/").removesuffix(".gz")])
            answer = server.answers.pop(0) if server.answers else server.answer
            if answer == "refused":
                return self.send_error(404)
            body = {
                "whole": packed,
                "truncated": packed[: len(packed) // 2],
                "cut off": packed[: len(packed) // 2],
                "corrupt": packed[:-20] + bytes(20),
                "altered": gzip.compress(small[self.path.strip("/").removesuffix(".gz")][:-1] + b"x"),
                "a page": b"<html>log in first</html>",
                "a bomb": gzip.compress(bytes(50_000_000)),
            }[answer]
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed) if answer == "cut off" else len(body)))
            self.end_headers()
            return self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer, server.answers, server.asked = "whole", [], []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def right(small):
    images = np.frombuffer(small["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 784)
    X_train, X_test, y_train, y_test = npae.datasets.mnist(labels=True)
    np.testing.assert_array_equal(X_train, images.astype(np.float32) / 255)
    assert (X_test.shape, y_train.shape, y_test.shape) == ((2, 784), (3,), (2,))
    assert X_train.dtype == np.float32
    return True


def test_a_download_is_kept_and_not_repeated(small, mirror, monkeypatch):
    monkeypatch.setattr(remote, "MIRRORS", (mirror.url,))
    assert right(small)
    assert len(mirror.asked) == 4
    assert sorted(p.name for p in remote.cache_folder().iterdir()) == sorted(f"{name}.gz" for name in small)
    assert right(small)
    assert len(mirror.asked) == 4


@pytest.mark.once
@pytest.mark.parametrize("answer", ["refused", "truncated", "cut off", "corrupt", "altered", "a page", "a bomb"])
def test_a_bad_answer_is_not_kept_and_the_next_mirror_is_asked(answer, small, mirror, monkeypatch):
    monkeypatch.setattr(remote, "MIRRORS", (mirror.url,))
    mirror.answer = answer
    with pytest.raises(
        OSError, match=r"expected to download .* got http://127.0.0.1.*Connect to the network .* NPAE_DATA_DIR"
    ):
        npae.datasets.mnist()
    assert not remote.cache_folder().exists()

    monkeypatch.setattr(remote, "MIRRORS", (mirror.url, mirror.url))
    mirror.answers = [answer, "whole"] * 4
    assert right(small)
    assert len(mirror.asked) == 1 + 8


def test_offline_the_message_says_what_to_do(small, monkeypatch):
    monkeypatch.setattr(remote, "MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(
        OSError, match=r"got http://127.0.0.1:9/train-images.*put the file into .*cache.*digits\(\) needs no network"
    ):
        npae.datasets.mnist()


def test_a_spoiled_cache_is_fetched_anew(small, mirror, monkeypatch):
    monkeypatch.setattr(remote, "MIRRORS", (mirror.url,))
    assert right(small)
    victim = remote.cache_folder() / "train-images-idx3-ubyte.gz"
    victim.write_bytes(victim.read_bytes()[:100])
    assert right(small)
    assert len(mirror.asked) == 5
    assert gzip.decompress(victim.read_bytes()) == small["train-images-idx3-ubyte"]


def test_a_cache_that_cannot_be_written_is_a_warning(small, mirror, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "MIRRORS", (mirror.url,))
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="could not keep"):
        assert right(small)


@pytest.mark.parametrize("inner", ["", "mnist"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_ones_own_comes_first(inner, packed, small, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "MIRRORS", ())
    folder = tmp_path / "data" / inner
    folder.mkdir(parents=True)
    for name, data in small.items():
        (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)
    monkeypatch.setenv("NPAE_DATA_DIR", str(tmp_path / "data"))
    assert right(small)
    next(folder.glob("t10k-images*")).write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"expected .*t10k-images.* got 14 bytes instead of 1584: replace the file"):
        npae.datasets.mnist()


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert remote.cache_folder() == tmp_path / "npae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote.cache_folder() == tmp_path / ".cache" / "npae"
