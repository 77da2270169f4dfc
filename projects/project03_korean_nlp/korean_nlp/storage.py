"""A finished model's folder: the baseline, two networks, their vocabulary, and the card that describes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from korean_nlp import baseline, cleaning, morphemes
from tf_study import cli, model_folder
from tf_study.errors import StudyError

KINDS = {
    "lstm": "Bi-LSTM",
    "cnn": "CNN",
    "baseline": "TF-IDF",
}  # the names of the command line, and those shown
VOCABULARY = "vocabulary.json"
FILES = (VOCABULARY, *(f"{kind}.npz" for kind in KINDS))
EVALUATION = "evaluation.json"
KEYS = {"classes": list, "settings": dict, "data": dict, "models": dict, "best": str, "files": dict}


class Classifier(Protocol):
    """What tells the topic of texts."""

    def probabilities(self, texts: Sequence[str], morphemes: Sequence[Sequence[str]]) -> np.ndarray:
        """Return float32 (N, topics); each row sums to 1.

        Args:
            texts: as they were given.
            morphemes: of each.
        """


def write_vocabulary(folder: Path, words: Sequence[str], counts: dict[str, np.ndarray]) -> None:
    """Write the morphemes, and how often each topic of the training part has each."""
    rows = [counts[word].tolist() for word in words]
    text = json.dumps({"words": words, "counts": rows}, ensure_ascii=False)
    cli.write_text(folder / VOCABULARY, text)


def write_card(folder: Path, card: dict) -> None:
    """Write the card with the digests of all other files; a folder with a card is whole."""
    model_folder.write_card(folder, card, FILES)


def read_card(folder: Path) -> dict:
    """Return the card of a finished model.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    return model_folder.read_card(folder, KEYS)


def load(folder: Path, card: dict, kind: str) -> Classifier:
    """Return one of the folder's models, ready to use.

    Raises:
        StudyError: if a file is missing or is not the one that was saved.
    """
    if kind == "baseline":
        return baseline.load(_checked(folder, card, "baseline.npz"))

    # Only now: the baseline does not need TensorFlow, which takes seconds.
    from korean_nlp import models
    from korean_nlp.dataset import Vocabulary

    words = json.loads(_checked(folder, card, VOCABULARY).read_text(encoding="utf-8"))["words"]
    vocabulary = Vocabulary(tuple(words))
    model = models.build(kind, len(vocabulary), len(card["classes"]), card["settings"])
    model_folder.load_weights(model, folder, card, f"{kind}.npz")
    return models.Network(model, vocabulary, card["settings"]["limit"])


def tagger(card: dict) -> morphemes.Tagger:
    """Return the analyser that a model was trained with.

    Raises:
        StudyError: if it, or what cleans the texts, is another one by now.
    """
    wanted = card["data"]["tagger"]
    found = morphemes.version(wanted["name"])
    if found != wanted["version"]:
        raise StudyError(
            f"모델은 {wanted['name']} {wanted['version']}(으)로 배웠는데 여기에는 {found}이(가) 있으니 그 버전을 "
            "설치하거나 prepare와 train을 다시 실행하세요."
        )
    if card["data"]["settings"]["cleaning"] != cleaning.VERSION:
        raise StudyError("글을 다듬는 방식이 모델을 학습한 때와 다르니 prepare와 train을 다시 실행하세요.")
    return morphemes.Tagger(wanted["name"])


def _checked(folder: Path, card: dict, name: str) -> Path:
    path = folder / name
    if not path.is_file() or model_folder.digest(path) != card["files"].get(name):
        raise StudyError(
            f"{path}이(가) 없거나 저장한 때와 다르니 원본을 복사하거나 train을 --restart로 실행하세요."
        )
    return path
