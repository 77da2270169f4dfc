"""A trained model's card and the files that it names, checked without TensorFlow: what is wrong is told at once."""

from pathlib import Path

from sentiment_analysis.settings import FORMS
from tf_study import model_folder
from tf_study.errors import StudyError

TOKENS, CALIBRATION = "tokenizer", "calibration.json"
KEYS = {"classes": list, "settings": dict, "encoder": dict, "data": str, "fingerprint": str, "files": dict}


def read_card(folder: Path) -> dict:
    """Return the card of a finished model.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    return model_folder.read_card(Path(folder), KEYS)


def check_file(folder: Path, card: dict, name: str, remedy: str) -> None:
    """Check a file that the card names.

    Raises:
        StudyError: if it is missing or is not the one that was saved.
    """
    path = folder / name
    if name in card["files"] and not (path.is_file() and model_folder.digest(path) == card["files"][name]):
        raise StudyError(f"{path}이(가) 없거나 저장한 때와 다르니 {remedy}.")


def checked(folder: Path, form: str) -> dict:
    """Return the card of a finished model, after a look at every file of one of its forms.

    Args:
        folder: of the model.
        form: of ``settings.FORMS``.

    Raises:
        StudyError: if the folder holds no finished model or not this form of it, or a file is damaged.
    """
    card = read_card(folder)
    if form not in FORMS:
        raise StudyError(f"{form!r} 형식은 없으니 {', '.join(FORMS)} 가운데 하나를 쓰세요.")
    beginning = f"{form}/" if form == "saved_model" else f"{form}.tflite"
    names = [name for name in card["files"] if name.startswith(beginning)]
    if not names:
        raise StudyError(f"{folder}에 {form} 형식이 없으니 export를 먼저 실행하세요.")
    if form != "saved_model":
        names += [name for name in card["files"] if name.startswith(f"{TOKENS}/")]
    for name in names:
        check_file(folder, card, name, "export를 다시 실행하세요")
    return card
