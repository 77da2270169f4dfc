"""What the suite does without a pretrained model; ``make test`` brings all of them first, and says what is missing.

A test of the model is skipped. A notebook's cell with the tag ``model:<name>`` is run and says that it skips; its
stored output, which is what comes out where the model is, is compared only there.
"""

import pytest

from tf_study.pretrained import catalog, store

PREFIX = "model:"
PACKAGED = {model.name: model for model in catalog.CATALOG if model.files}


def names(tags: list[str]) -> set[str]:
    """Return the models that a cell's tags name."""
    return {tag.removeprefix(PREFIX) for tag in tags if tag.startswith(PREFIX)}


def missing() -> list[str]:
    """Return the packaged models that are not here."""
    return [name for name, model in PACKAGED.items() if not store.installed(model)]


def need(name: str) -> None:
    """Skip the test unless the model is here."""
    if name in missing():
        pytest.skip(f"{name} 모델이 없습니다. 받으려면 {catalog.command(name)}를 실행하세요.")
