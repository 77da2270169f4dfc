import contextlib
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import tarfile
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from tf_study.data import fetch
from tf_study.errors import StudyError

CONTENT = bytes(range(256)) * 4000  # 1 MB, several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Own folders only: nothing of this machine's caches, no TF_STUDY_DATA."""
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


class Server:
    """A web server on this machine whose behaviour the test sets."""

    def __init__(self):
        self.body, self.ranges, self.cut, self.requests, self.status = CONTENT, True, None, [], 200
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        body, status = self.body, self.status
        if wanted and self.ranges and status == 200:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body, status = (body[start:], 206) if start < len(body) else (b"", 416)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.cut is not None:
            body, self.cut = body[: self.cut], None  # only the first time
        with contextlib.suppress(ConnectionError):  # the client may have seen enough
            handler.wfile.write(body)
        handler.close_connection = True


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def one_sentence(error) -> str:
    """The message is one Korean sentence that ends in a remedy."""
    text = str(error.value)
    assert text.endswith(("세요.", "쓰세요.")) and text.count(". ") == 0 and "\n" not in text, text
    return text


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# Downloads


@pytest.mark.parametrize("digest", [DIGEST, MD5])
def test_download_verifies_and_leaves_only_the_file(server, tmp_path, digest):
    target = tmp_path / "deep" / "file.bin"
    assert fetch.download(server.url, target, len(CONTENT), digest) == target
    assert target.read_bytes() == CONTENT and files(target.parent) == {"file.bin"}
    fetch.download(server.url, target, len(CONTENT), DIGEST)
    assert server.requests == [None]  # the second call found it


def test_half_written_file_is_resumed(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:300_000])
    target = fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert server.requests == ["bytes=300000-"]
    assert target.read_bytes() == CONTENT and files(tmp_path) == {"file.bin"}


def test_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 300_000)
    target = fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert target.read_bytes() == CONTENT and files(tmp_path) == {"file.bin"}


def test_connection_cut_off_is_taken_up_again(server, tmp_path):
    server.cut = 400_000
    target = fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert server.requests == [None, "bytes=400000-"] and target.read_bytes() == CONTENT


def test_complete_part_is_only_checked(tmp_path, offline):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch.download("http://x/", tmp_path / "file.bin", len(CONTENT), DIGEST).read_bytes() == CONTENT


def test_no_network_keeps_the_part(tmp_path, offline):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(StudyError) as error:
        fetch.download("http://x/", tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert "인터넷" in one_sentence(error) and files(tmp_path) == {"file.bin.part"}


@pytest.mark.parametrize("digest", [DIGEST, MD5])
def test_wrong_checksum_deletes_and_retries_cleanly(server, tmp_path, digest):
    server.body = CONTENT[::-1]
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), digest)
    assert "체크섬" in one_sentence(error) and files(tmp_path) == set()
    server.body = CONTENT
    assert fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), digest).is_file()


@pytest.mark.parametrize("body", [b"<html>sign in first</html>", CONTENT + b"more"])
def test_an_answer_of_another_size_is_not_kept(server, tmp_path, body):
    server.body = body
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert "크기" in one_sentence(error) and files(tmp_path) == set()


def test_part_beyond_the_end_on_the_server(server, tmp_path):
    server.body = CONTENT[:1000]
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:2000])
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert one_sentence(error) and files(tmp_path) == set()


def test_server_error_names_the_status(server, tmp_path):
    server.status = 503
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert "503" in one_sentence(error) and files(tmp_path) == set()


def test_cache_folder_that_is_a_file(tmp_path, server):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "cache" / "file.bin", len(CONTENT), DIGEST)
    assert fetch.CACHE_VARIABLE in one_sentence(error) and server.requests == []


def test_read_only_cache(tmp_path, server, monkeypatch):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    real = type(tmp_path).open

    def denied(self, mode="r", *args, **kwargs):
        if set(mode) & set("wax"):
            raise PermissionError(13, "Permission denied")
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "open", denied)
    with pytest.raises(StudyError) as error:
        fetch.download(server.url, tmp_path / "file.bin", len(CONTENT), DIGEST)
    assert "쓸 수 없으니" in one_sentence(error) and files(tmp_path) == {"file.bin.part"}


# Where data sets are found


def save_npz(path, count=4, shape=(28, 28)):
    path.parent.mkdir(parents=True, exist_ok=True)
    images, labels = np.arange(count * np.prod(shape)).reshape(count, *shape), np.arange(count)
    images, labels = images.astype(np.uint8), labels.astype(np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    return path


def test_own_folder_comes_before_the_caches(tmp_path, monkeypatch):
    keras = save_npz(tmp_path / "keras" / "datasets" / "mnist.npz")
    assert fetch.locate("mnist") == keras
    cached = save_npz(tmp_path / "cache" / "mnist.npz")
    assert fetch.locate("mnist") == cached
    own = save_npz(tmp_path / "own" / "mnist.npz")
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "own"))
    assert fetch.locate("mnist") == own
    (x_train, y_train), (x_test, y_test) = fetch.arrays("mnist")
    assert x_train.shape == (4, 28, 28) and x_test.shape == (2, 28, 28) and x_train.dtype == np.uint8


def test_without_network_nothing_is_left(tmp_path, offline):
    for name in fetch.SOURCES:
        with pytest.raises(StudyError) as error:
            fetch.locate(name)
        assert fetch.DATA_VARIABLE in one_sentence(error)
    assert files(tmp_path) == set()


def test_every_download_has_a_digest():
    for source in fetch.SOURCES.values():
        for item in source.downloads:
            assert re.fullmatch("[0-9a-f]{64}|[0-9a-f]{32}", item.digest), item.path


def test_a_source_whose_downloads_are_none_of_its_places_is_an_error_and_no_endless_loop(server, monkeypatch):
    item = fetch.Download(server.url, "file.bin", len(CONTENT), DIGEST)
    monkeypatch.setitem(fetch.SOURCES, "mnist", fetch.Source(("elsewhere.npz",), (item,)))
    with pytest.raises(AssertionError, match="mnist"):
        fetch.locate("mnist")
    assert server.requests == [None]


def test_unknown_name_and_missing_folder(monkeypatch, tmp_path):
    with pytest.raises(StudyError) as error:
        fetch.locate("svhn")
    assert "mnist" in one_sentence(error)
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(StudyError) as error:
        fetch.locate("mnist")
    assert "nowhere" in one_sentence(error)


def test_damaged_file_in_the_own_folder_is_reported_and_stays(tmp_path, monkeypatch, offline):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    path = save_npz(tmp_path / "mnist.npz")
    whole = path.read_bytes()
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for content in (whole[:-2000], whole[:500], b"", b"no npz", (tmp_path / "objects.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(StudyError) as error:
            fetch.arrays("mnist")
        assert "mnist.npz" in one_sentence(error) and path.read_bytes() == content
    np.savez(path, x_train=np.zeros(3))
    with pytest.raises(StudyError):
        fetch.arrays("mnist")


def test_a_file_whose_images_and_labels_differ_in_number(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    x, y = np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(StudyError):
        fetch.arrays("mnist")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_fashion_mnist_from_the_four_idx_files(tmp_path, monkeypatch, offline):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    for name, array in zip(fetch.IDX_FILES, (images, np.arange(5), images[:2], np.arange(2)), strict=True):
        write_idx(folder / name, array.astype(np.uint8))
    (x_train, y_train), (x_test, y_test) = fetch.arrays("fashion_mnist")
    assert np.array_equal(x_train, images) and y_train.tolist() == [0, 1, 2, 3, 4] and len(x_test) == 2
    path = folder / fetch.IDX_FILES[0]
    for content in (
        path.read_bytes()[:-100],
        gzip.compress(b"\0\0\x08\x03\0\0"),
        b"",
        gzip.compress(b"abcdef"),
    ):
        path.write_bytes(content)
        with pytest.raises(StudyError):
            fetch.arrays("fashion_mnist")
    path.unlink()  # an incomplete folder counts as absent
    with pytest.raises(StudyError) as error:
        fetch.locate("fashion_mnist")
    assert "인터넷" in one_sentence(error)


def write_cifar(path, corrupt=None):
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
            batch = {b"data": rng.integers(0, 256, (2, 3072), np.uint8), b"labels": [3, 7]}
            data = pickle.dumps(corrupt if corrupt is not None else batch)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_cifar10_from_the_official_archive(tmp_path):
    path = tmp_path / "cache" / "cifar-10-python.tar.gz"
    write_cifar(path)
    (x_train, y_train), (x_test, y_test) = fetch.arrays("cifar10")
    assert x_train.shape == (10, 32, 32, 3) and y_train.shape == (10, 1) and x_train.dtype == np.uint8
    first = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)[0]
    assert np.array_equal(x_train[0, :, :, 0].ravel(), first[:1024]) and y_test.ravel().tolist() == [3, 7]
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(StudyError):
        fetch.arrays("cifar10")


class Intruder:
    def __reduce__(self):
        return os.mkdir, ("intruder",)


def test_cifar10_archive_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path / "cache" / "cifar-10-python.tar.gz", corrupt={b"data": Intruder()})
    with pytest.raises(StudyError):
        fetch.arrays("cifar10")
    assert not (tmp_path / "intruder").exists()


def write_flowers(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            data = os.urandom(20_000)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


FLOWERS = [f"flower_photos/{name}/{number}.jpg" for name in fetch.FLOWER_FOLDERS for number in range(2)]


def test_flowers_are_unpacked_once_and_only_images(tmp_path, offline):
    archive = tmp_path / "cache" / "flower_photos.tgz"
    write_flowers(
        archive, [*FLOWERS, "flower_photos/LICENSE.txt", "../outside.jpg", "flower_photos/../x/a.jpg"]
    )
    folder = fetch.locate("flowers")
    assert folder == tmp_path / "cache" / "flower_photos"
    assert files(tmp_path) == {f"cache/{name}" for name in FLOWERS}  # the archive is gone, nothing outside
    assert fetch.locate("flowers") == folder


def test_archive_in_the_own_folder_is_unpacked_into_the_cache(tmp_path, monkeypatch, offline):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "own"))
    write_flowers(tmp_path / "own" / "flower_photos.tgz", FLOWERS)
    assert fetch.locate("flowers") == tmp_path / "cache" / "flower_photos"
    assert (tmp_path / "own" / "flower_photos.tgz").is_file()


def test_truncated_archive_leaves_no_folder(tmp_path, offline):
    archive = tmp_path / "cache" / "flower_photos.tgz"
    write_flowers(archive, FLOWERS)
    for content in (archive.read_bytes()[:100_000], b"no tar"):
        archive.write_bytes(content)
        with pytest.raises(StudyError) as error:
            fetch.locate("flowers")
        assert "flower_photos.tgz" in one_sentence(error)
        assert files(tmp_path) == {"cache/flower_photos.tgz"}
        assert [path.name for path in (tmp_path / "cache").iterdir()] == ["flower_photos.tgz"]


def test_archive_with_a_cache_that_cannot_be_written(tmp_path, monkeypatch, offline):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "own"))
    write_flowers(tmp_path / "own" / "flower_photos.tgz", FLOWERS)
    (tmp_path / "cache").write_text("")
    with pytest.raises(StudyError) as error:
        fetch.locate("flowers")
    assert fetch.CACHE_VARIABLE in one_sentence(error)
