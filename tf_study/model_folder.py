"""The folder that a project's ``train`` writes: weights, the card that describes them, and the state to resume from.

The card, ``model.json``, is written last and names the digests of the files, so that a folder with a card is whole.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tf_study import cli
from tf_study.data import fetch
from tf_study.errors import StudyError
from tf_study.pictures import DAMAGE

if TYPE_CHECKING:
    import keras

CARD, STATE = "model.json", "state.npz"
DAMAGED = (*DAMAGE, ArithmeticError)  # what reading a file of arrays raises


def write_npz(path: Path, arrays: Iterable[np.ndarray], **more: np.ndarray) -> None:
    """Write arrays as ``w0``, ``w1``, ... and others by their names, in one step."""
    named = {f"w{index}": array for index, array in enumerate(arrays)} | more
    cli.write(path, lambda part: np.savez(part, **named))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_card(folder: Path, card: dict, files: Sequence[str]) -> None:
    """Write the card with the digests of those of the files that are there."""
    found = {name: digest(folder / name) for name in files if (folder / name).exists()}
    text = json.dumps(card | {"files": found}, ensure_ascii=False, indent=1)
    cli.write_text(folder / CARD, text)


def read_card(folder: Path, keys: Mapping[str, type]) -> dict:
    """Return the card of a finished model; it must have the keys, with values of these types.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    if not folder.is_dir():
        raise StudyError(f"모델 폴더 {folder}이(가) 없으니 경로를 확인하거나 train을 먼저 실행하세요.")
    if not (folder / CARD).exists():
        if (folder / STATE).exists():
            raise StudyError(f"{folder}의 학습이 끝나지 않았으니 같은 train 명령을 다시 실행해 이으세요.")
        raise StudyError(f"{folder}에 모델이 없으니 train을 먼저 실행하세요.")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        whole = all(isinstance(card[key], kind) for key, kind in keys.items()) and card["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StudyError(f"{folder / CARD}의 내용이 깨졌으니 train을 --restart로 다시 실행하세요.")
    return card


def load_weights(model: "keras.Model", folder: Path, card: dict, name: str) -> None:
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


def check_output(folder: Path, settings: dict, fingerprint: str, what: str) -> None:
    """Refuse a folder that training with these settings and this data would spoil.

    Args:
        settings: as JSON gives them back.
        fingerprint: of the data.
        what: the data in Korean, with its particle ("그림이").

    Raises:
        StudyError: if it holds a finished model, or an unfinished run with other settings or data.
    """
    if (folder / STATE).exists():
        about = read_about(folder / STATE)
        if about["settings"] != settings:
            raise StudyError(
                f"{folder}에 다른 설정으로 하던 학습이 있으니 그 설정으로 잇거나 --restart를 주세요."
            )
        if about["fingerprint"] != fingerprint:
            raise StudyError(f"{what} 중단한 때와 다르니 되돌리거나 --restart로 다시 학습하세요.")
    elif (folder / CARD).exists():
        raise StudyError(
            f"{folder}에 학습을 마친 모델이 있으니 다른 폴더를 주거나 --restart로 다시 학습하세요."
        )


def read_about(path: Path) -> dict:
    """Return what a state says of its run: ``settings``, ``fingerprint`` and what else was written.

    Raises:
        StudyError: if the file is damaged.
    """
    try:
        with np.load(path) as file:
            return json.loads(str(file["about"]))
    except DAMAGED:
        raise damaged(path) from None


def damaged(path: Path) -> StudyError:
    """Return what is to be raised for a state that cannot be read."""
    return StudyError(f"{path}이(가) 깨졌으니 --restart로 다시 학습하세요.")
