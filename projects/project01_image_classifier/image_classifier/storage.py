"""The JSON files and the card that describes a finished model's folder."""

import json
from pathlib import Path

from tf_study import cli, model_folder
from tf_study.errors import StudyError

CARD = "model.json"
STATE = "state.json"
FILES = {"keras": "model.keras", "tflite": "model.tflite", "int8": "model_int8.tflite"}
SAMPLES = "calibration.npz"  # Training pictures, uint8 (N, side, side, 3), for int8's ranges of values.


def write_json(path: Path, value: dict) -> None:
    """Write ``value`` as readable JSON, in one step."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    cli.write_text(path, text)


def read_json(path: Path) -> dict:
    """Read what :func:`write_json` wrote.

    Raises:
        StudyError: if the file cannot be read or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise StudyError(f"{path}을(를) 읽을 수 없으니 train을 --restart로 다시 실행하세요.")
    return value


def read_card(folder: Path) -> dict:
    """Return the card of a finished model: ``classes``, ``side``, ``files`` and how it was trained.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    if not folder.is_dir():
        raise StudyError(f"모델 폴더 {folder}이(가) 없으니 경로를 확인하거나 train을 먼저 실행하세요.")
    if not (folder / CARD).exists():
        if (folder / STATE).exists():
            raise StudyError(f"{folder}의 학습이 끝나지 않았으니 같은 train 명령을 다시 실행해 이으세요.")
        raise StudyError(f"{folder}에 모델이 없으니 train을 먼저 실행하세요.")
    card = read_json(folder / CARD)
    classes, side, files = (card.get(key) for key in ("classes", "side", "files"))
    if not (isinstance(classes, list) and classes and isinstance(side, int) and isinstance(files, dict)):
        raise StudyError(f"{folder / CARD}의 내용이 깨졌으니 train을 --restart로 다시 실행하세요.")
    return card


def checked(folder: Path, card: dict, name: str) -> Path:
    """Return the path of one of the card's files after comparing its digest.

    Raises:
        StudyError: if the file is missing or is not the one that was saved.
    """
    path = folder / name
    if name not in card["files"] or not path.is_file():
        raise StudyError(f"{path}이(가) 없으니 export를 실행하거나 그 파일이 있는 폴더를 주세요.")
    if model_folder.digest(path) != card["files"][name]:
        raise StudyError(f"{path}이(가) 저장한 때와 다르니 원본을 복사하거나 train을 다시 실행하세요.")
    return path
