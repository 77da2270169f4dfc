"""Finds the real data sets and weights of the ``full`` profile: ``$TF_STUDY_DATA``, then caches, then a download.

A file that lies in one of the folders is only read, never changed or deleted. A download goes to
``<name>.part``, is resumed when it was cut off, checked by size and digest, and renamed as the last
step, so that a file under its final name is whole.
"""

import gzip
import hashlib
import http.client
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tf_study import cli
from tf_study.errors import StudyError

DATA_VARIABLE = "TF_STUDY_DATA"
CACHE_VARIABLE = "TF_STUDY_CACHE"
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 18

# What reading a damaged archive or array file raises.
DAMAGE = (
    EOFError,
    gzip.BadGzipFile,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    ValueError,
)

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Download:
    """One published file: where it is, where it goes below the cache folder, and how it is recognised.

    ``digest`` is the published SHA-256 or, for files that Keras itself distributes, MD5, in hexadecimal.
    """

    url: str
    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Source:
    """A data set: the paths under which it may lie in a folder, best first, and what to download if not.

    ``members`` are the entries that a folder among ``places`` must hold to count as complete.
    ``archive`` is a tar file that :func:`locate` unpacks to ``places[0]``.
    """

    places: tuple[str, ...]
    downloads: tuple[Download, ...]
    members: tuple[str, ...] = ()
    archive: str | None = None


IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # in the npz files of the image sets
NSMC_FILES = ("ratings_train.txt", "ratings_test.txt")
FLOWER_FOLDERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
GLOVE_DIMENSIONS = (50, 100, 200, 300)

_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_KERAS_MODELS = "https://storage.googleapis.com/keras-applications"
_NSMC = "https://raw.githubusercontent.com/e9t/nsmc/master"
_GLOVE = Download(
    "https://nlp.stanford.edu/data/glove.6B.zip",
    "glove.6B.zip",
    862182613,
    "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
)

# Sizes and SHA-256 values as published by Keras, the data sets' authors or long-standing mirrors of them: those
# of NSMC by Hugging Face datasets, that of the flowers by TensorFlow Datasets.
SOURCES = {
    "mnist": Source(
        ("mnist.npz",),
        (
            Download(
                f"{_KERAS}/mnist.npz",
                "mnist.npz",
                11490434,
                "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            ),
        ),
    ),
    "fashion_mnist": Source(
        ("fashion_mnist.npz", "fashion-mnist", "fashion_mnist"),
        tuple(
            Download(f"{_KERAS}/{name}", f"fashion-mnist/{name}", size, digest)
            for name, size, digest in zip(
                IDX_FILES,
                (26421880, 29515, 4422102, 5148),
                (
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
                strict=True,
            )
        ),
        members=IDX_FILES,
    ),
    "cifar10": Source(
        ("cifar10.npz", "cifar-10-python.tar.gz"),
        (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "cifar-10-python.tar.gz",
                170498071,
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
    ),
    "flowers": Source(
        ("flower_photos",),
        (
            Download(
                "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
                "flower_photos.tgz",
                228813984,
                "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        ),
        members=FLOWER_FOLDERS,
        archive="flower_photos.tgz",
    ),
    "imdb": Source(
        ("aclImdb", "aclImdb_v1.tar.gz"),
        (
            Download(
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                "aclImdb_v1.tar.gz",
                84125825,
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            ),
        ),
        members=("train/pos", "train/neg", "test/pos", "test/neg"),
    ),
    "nsmc": Source(
        ("nsmc",),
        tuple(
            Download(f"{_NSMC}/{name}", f"nsmc/{name}", size, digest)
            for name, size, digest in zip(
                NSMC_FILES,
                (14628807, 4893335),
                (
                    "e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
                    "8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
                ),
                strict=True,
            )
        ),
        members=NSMC_FILES,
    ),
    "efficientnetb0": Source(
        ("efficientnetb0_notop.h5",),
        (
            Download(
                f"{_KERAS_MODELS}/efficientnetb0_notop.h5",
                "efficientnetb0_notop.h5",
                16705208,
                "50bc09e76180e00e4465e1a485ddc09d",
            ),
        ),
    ),
    "glove": Source(("glove.6B.50d.txt", "glove.6B.zip"), (_GLOVE,)),
    **{
        f"glove_{dim}": Source((f"glove.6B.{dim}d.txt", "glove.6B.zip"), (_GLOVE,))
        for dim in GLOVE_DIMENSIONS[1:]
    },
}


def locate(name: str) -> Path:
    """Return where the real data set lies, downloading it if it lies nowhere.

    Args:
        name: a key of :data:`SOURCES`.

    Returns:
        ``mnist``: the npz file. ``fashion_mnist``: an npz file or the folder of the four idx files.
        ``cifar10``: an npz file or the official tar.gz. (Use :func:`arrays` for these three.)
        ``flowers``: the folder with one sub-folder per class. ``imdb``: the folder ``aclImdb`` or the
        official tar.gz. ``nsmc``: the folder of the two TSV files. ``efficientnetb0``: the weights without
        the classification head, HDF5. ``glove`` (50 d), ``glove_100``,
        ``glove_200``, ``glove_300``: the text file or the official zip.

    Raises:
        StudyError: if the name is unknown, the download or its check fails, or the cache is not writable.
    """
    if name not in SOURCES:
        raise StudyError(
            f"{name!r}라는 데이터는 내려받을 수 없으니 {', '.join(SOURCES)} 가운데 하나를 쓰세요."
        )
    source = SOURCES[name]
    found = _find(source)
    if found is None:
        for item in source.downloads:
            download(item.url, cache_folder() / item.path, item.size, item.digest)
        found = _find(source)
    assert found is not None, f"the downloads of {name} do not make one of its places"
    return found


def _find(source: Source) -> Path | None:
    """Return the first place that is there, unpacking the archive if only that is."""
    for folder in _folders():
        for place in source.places:
            path = folder / place
            if path.is_file() or (path.is_dir() and all((path / part).exists() for part in source.members)):
                return path
    if source.archive is not None:
        for folder in _folders():
            if (folder / source.archive).is_file():
                return _unpack(folder / source.archive, source.places[0])
    return None


def keras_weights(name: str) -> Path:
    """Return the path of a weights file where ``keras.applications`` looks for it, after checking its digest.

    A file found elsewhere is copied there: for a file with a wrong digest Keras would start a download of
    its own, and delete the file if that fails.

    Raises:
        StudyError: as :func:`locate`, and if the file is damaged.
    """
    path, (item,) = locate(name), SOURCES[name].downloads
    if _digest(path, item.digest) != item.digest:
        raise damaged(path)
    target = _keras_home() / "models" / item.path
    if path != target:
        cli.write(target, lambda part: shutil.copyfile(path, part))
    return target


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def cache_folder() -> Path:
    """Return the folder for downloads: ``$TF_STUDY_CACHE`` or ``~/.cache/tf_study``; it may not exist yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/tf_study").expanduser()


def _folders() -> list[Path]:
    """Return the folders to search: the learner's own, this package's cache, those of Keras."""
    folders = [cache_folder(), _keras_home() / "datasets", _keras_home() / "models"]
    own = own_folder()
    return folders if own is None else [own, *folders]


def own_folder() -> Path | None:
    """Return the learner's own folder of data and models, ``$TF_STUDY_DATA``; ``None`` if there is none.

    Raises:
        StudyError: if the variable names a folder that does not exist.
    """
    if not os.environ.get(DATA_VARIABLE):
        return None
    own = Path(os.environ[DATA_VARIABLE]).expanduser()
    if not own.is_dir():
        raise StudyError(f"{DATA_VARIABLE}가 가리키는 {own} 폴더가 없으니 경로를 고치거나 변수를 지우세요.")
    return own


def arrays(name: str) -> tuple[Split, Split]:
    """Load the whole of an image set from wherever :func:`locate` finds it.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)`` as the files hold them, uint8: images (N, 28, 28) with
        labels (N,), or images (N, 32, 32, 3) with labels (N, 1).

    Raises:
        StudyError: if the set cannot be had or a file is damaged.
    """
    path = locate(name)
    if path.is_dir():
        x_train, y_train, x_test, y_test = (read_idx(path / file) for file in IDX_FILES)
    elif path.suffix == ".npz":
        x_train, y_train, x_test, y_test = read_npz(path, ARRAYS).values()
    else:
        return _read_cifar(path)
    if len(x_train) != len(y_train) or len(x_test) != len(y_test):
        raise damaged(path)
    return (x_train, y_train), (x_test, y_test)


def read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays called ``keys`` of an npz file, in that order.

    Raises:
        StudyError: if the file is not a whole npz file with these keys, or holds Python objects.
    """
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except (*DAMAGE, TypeError, OSError) as error:
        raise damaged(path) from error


def read_weights(model, path: Path) -> None:
    """Fill a Keras model with the weights ``w0``, ``w1``, ... of an npz file, in the order of ``model.weights``.

    Raises:
        StudyError: if the file is not a whole npz file with these keys.
    """
    saved = read_npz(path, tuple(f"w{index}" for index in range(len(model.weights))))
    for weight, value in zip(model.weights, saved.values(), strict=True):
        weight.assign(value.astype(np.float32))


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of a gzip-compressed idx file, the format of MNIST and Fashion-MNIST.

    Raises:
        StudyError: if the file is cut off or is not of that format.
    """
    try:
        data = gzip.decompress(Path(path).read_bytes())
        if data[:3] != b"\x00\x00\x08":  # 0x08: unsigned bytes
            raise ValueError("not an idx file of bytes")
        start = 4 + 4 * data[3]
        return np.frombuffer(data, np.uint8, offset=start).reshape(np.frombuffer(data[4:start], ">u4"))
    except (*DAMAGE, IndexError, OSError) as error:
        raise damaged(path) from error


def _read_cifar(path: Path) -> tuple[Split, Split]:
    """Read the official CIFAR-10 archive, which holds pickled batches, without unpacking it.

    Only builtins of NumPy and Python are unpickled, as the archive may come from anywhere.
    """
    parts = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                batch = PurePosixPath(member.name).name
                if member.isfile() and re.fullmatch(r"data_batch_[1-5]|test_batch", batch):
                    content = _ArrayUnpickler(archive.extractfile(member), encoding="bytes").load()
                    images = np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32)
                    labels = np.asarray(content[b"labels"], np.uint8).reshape(-1, 1)
                    parts[batch] = images.transpose(0, 2, 3, 1), labels
        train = [parts[f"data_batch_{number}"] for number in range(1, 6)]
        images, labels = zip(*train, strict=True)
        x_test, y_test = parts["test_batch"]
        return (np.concatenate(images), np.concatenate(labels)), (np.ascontiguousarray(x_test), y_test)
    except DAMAGE as error:
        raise damaged(path) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers, nothing else."""

    def find_class(self, module: str, name: str):
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of CIFAR-10")


def damaged(path: Path) -> StudyError:
    """Return the error for a file that is cut off or of another format; nothing is deleted."""
    return StudyError(f"{path} 파일이 깨졌거나 형식이 다르니 지우거나 온전한 파일로 바꾸고 다시 실행하세요.")


class _NetworkError(Exception):
    """The connection failed, as opposed to the disk."""


class _WrongFile(Exception):
    """What the server sends is not the published file."""


def download(url: str, target: Path, size: int, digest: str) -> Path:
    """Download a file, showing its progress, unless it is there already.

    An interrupted download leaves ``<target>.part``; the next call goes on from there. While bytes keep
    arriving, a broken connection is taken up again at once.

    Args:
        url: http or https address.
        target: final path; its folder is made.
        size: expected number of bytes.
        digest: expected SHA-256 (64 hexadecimal digits) or MD5 (32).

    Returns:
        ``target``.

    Raises:
        StudyError: if there is no connection (the part stays), the file is not the expected one (the part
            is deleted) or the folder cannot be written to.
    """
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while (done := _length(part)) < size:
            try:
                _receive(url, part, size)
            except _NetworkError:
                if _length(part) <= done:
                    raise
            else:
                if _length(part) <= done:
                    raise _NetworkError("연결 끊김")
        if part.stat().st_size != size or _digest(part, digest) != digest:
            raise _WrongFile
        os.replace(part, target)
    except _WrongFile as error:
        part.unlink(missing_ok=True)
        raise StudyError(
            f"내려받은 {target.name} 파일이 공개된 크기나 체크섬과 달라 지웠으니 다시 실행하거나 "
            f"파일을 직접 받아 {DATA_VARIABLE} 폴더에 두세요."
        ) from error
    except _NetworkError as error:
        raise StudyError(
            f"{target.name} 파일을 내려받지 못했으니({error}) 인터넷 연결을 확인하고 다시 실행하거나 "
            f"파일을 직접 받아 {DATA_VARIABLE} 폴더에 두세요."
        ) from error
    except OSError as error:
        raise _not_writable(target.parent) from error
    return target


def _receive(url: str, part: Path, size: int) -> None:
    """Append to ``part`` what the server sends of the missing bytes."""
    from tqdm import tqdm

    start = _length(part)
    request = urllib.request.Request(url, headers={"User-Agent": "tf_study"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _network(urllib.request.urlopen, request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server ignores ranges: from the beginning
            start = 0
        length = response.headers.get("Content-Length")
        if length is not None and start + int(length) != size:  # an error page, or another version
            raise _WrongFile
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            while chunk := _network(response.read, CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def _network(call, *args, **kwargs):
    """Call a function of the network, turning what it raises into :class:`_NetworkError`."""
    try:
        return call(*args, **kwargs)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond the range: the part is no beginning of this file
            raise _WrongFile from error
        raise _NetworkError(f"서버 응답 {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError("연결 실패") from error


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, expected: str) -> str:
    """Return the digest of a file by the algorithm that gives as many digits as ``expected`` has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(expected) == 32 else "sha256").hexdigest()


def _not_writable(folder: Path) -> StudyError:
    return StudyError(
        f"{folder} 폴더에 쓸 수 없으니 권한과 남은 용량을 확인하거나 "
        f"{CACHE_VARIABLE}에 쓸 수 있는 폴더를 지정하세요."
    )


def _unpack(archive: Path, name: str) -> Path:
    """Unpack the JPEG files ``name/<class>/<file>.jpg`` of a tar file into the cache, all or nothing."""
    target = cache_folder() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=target.parent) as work:
            try:
                with tarfile.open(archive) as file:
                    for member in file:
                        if member.isfile() and re.fullmatch(rf"{name}/\w+/[^/\\]+\.jpg", member.name):
                            path = Path(work, member.name)
                            path.parent.mkdir(parents=True, exist_ok=True)
                            with path.open("wb") as copy:
                                shutil.copyfileobj(file.extractfile(member), copy)
            except DAMAGE as error:
                raise damaged(archive) from error
            if not Path(work, name).is_dir():
                raise damaged(archive)
            shutil.rmtree(target, ignore_errors=True)  # an incomplete one, else it would have been found
            os.replace(Path(work, name), target)
        if archive.parent == cache_folder():
            archive.unlink()
    except OSError as error:
        raise _not_writable(target.parent) from error
    return target
