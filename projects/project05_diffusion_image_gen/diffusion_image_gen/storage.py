"""A finished model's folder: weights, and the card that describes them. Without a folder: the model of the course."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from diffusion_image_gen.sampling import Painter
from tf_study import cli, diffusion
from tf_study.data import fetch
from tf_study.errors import StudyError
from tf_study.models.unet import UNet

CARD, STATE, WEIGHTS, JUDGE = "model.json", "state.npz", "weights.npz", "judge.npz"
KEYS = {"classes": list, "side": int, "channels": int, "widths": list, "data": str, "files": dict}
BUILT_IN = {
    "classes": [str(digit) for digit in range(10)],
    "side": diffusion.SIDE,
    "channels": 1,
    "data": "mnist",
}


def write_npz(path: Path, arrays: Iterable[np.ndarray], **more: np.ndarray) -> None:
    """Write arrays as ``w0``, ``w1``, ... and others by their names, in one step."""
    named = {f"w{index}": array for index, array in enumerate(arrays)} | more
    cli.write(path, lambda part: np.savez(part, **named))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(folder: Path, card: dict) -> None:
    """Write the card with the digests of the weights and, if it is there, the judge."""
    names = [name for name in (WEIGHTS, JUDGE) if (folder / name).exists()]
    text = json.dumps(card | {"files": {n: digest(folder / n) for n in names}}, ensure_ascii=False, indent=1)
    cli.write(folder / CARD, lambda part: part.write_text(text, encoding="utf-8"))


def read_card(folder: Path | None) -> dict:
    """Return the card of a finished model, or of the course's for ``None``.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    if folder is None:
        return BUILT_IN
    if not folder.is_dir():
        raise StudyError(f"모델 폴더 {folder}이(가) 없으니 경로를 확인하거나 train을 먼저 실행하세요.")
    if not (folder / CARD).exists():
        if (folder / STATE).exists():
            raise StudyError(f"{folder}의 학습이 끝나지 않았으니 같은 train 명령을 다시 실행해 이으세요.")
        raise StudyError(f"{folder}에 모델이 없으니 train을 먼저 실행하세요.")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        whole = all(isinstance(card[key], kind) for key, kind in KEYS.items()) and card["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StudyError(f"{folder / CARD}의 내용이 깨졌으니 train을 --restart로 다시 실행하세요.")
    return card


def load_painter(folder: Path | None = None, xla: bool = False) -> Painter:
    """Return what draws with a finished model, or with the course's for ``None``.

    Raises:
        StudyError: as :func:`read_card`, or if the weights are not those that were saved.
    """
    card = read_card(folder)
    if folder is None:
        model = diffusion.load_unet()
    else:
        model = UNet(tuple(card["widths"]), len(card["classes"]), card["channels"])
        load_weights(model, folder, card, WEIGHTS)
    return Painter(model, card["side"], card["classes"], xla)


def load_weights(model: keras.Model, folder: Path, card: dict, name: str) -> None:
    """Read a file of the card into a model.

    Raises:
        StudyError: if the file is missing or is not the one that was saved.
    """
    path = folder / name
    if not path.is_file() or digest(path) != card["files"].get(name):
        raise StudyError(
            f"{path}이(가) 없거나 저장한 때와 다르니 원본을 복사하거나 train을 --restart로 실행하세요."
        )
    assign(model.weights, fetch.read_npz(path, tuple(f"w{i}" for i in range(len(model.weights)))).values())


def assign(variables: Iterable, values: Iterable[np.ndarray]) -> None:
    """Put values into variables, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
