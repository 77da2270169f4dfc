"""What the suite does without a pretrained model or a C++ compiler.

``make test`` brings all models first, and says what is missing. A test of a model is skipped without it. A notebook's
cell with the tag ``model:<name>`` or ``compiler`` is run and says that it skips; its stored output, which is what
comes out where the model or the compiler is, is compared only there. A cell with the tag ``onednn`` prints what only
a TensorFlow that computes with oneDNN records.
"""

import os
import platform
import sys

import pytest

from tf_study.cuda import builder
from tf_study.pretrained import catalog, store

PREFIX = "model:"
COMPILER = "compiler"
ONEDNN = "onednn"
PACKAGED = {model.name: model for model in catalog.CATALOG if model.files}


def names(tags: list[str]) -> set[str]:
    """Return the models that a cell's tags name."""
    return {tag.removeprefix(PREFIX) for tag in tags if tag.startswith(PREFIX)}


def missing() -> list[str]:
    """Return the packaged models that are not here."""
    return [name for name, model in PACKAGED.items() if not store.installed(model)]


def compared(tags: list[str]) -> bool:
    """Return whether all that a cell's tags name is here."""
    needed = names(tags)  # Of most cells nothing: they cost no look at the models' folder.
    here = not needed or needed.isdisjoint(missing())
    here = here and (COMPILER not in tags or builder.compiler() is not None)
    return here and (ONEDNN not in tags or onednn())


def onednn() -> bool:
    """Return whether TensorFlow computes with oneDNN: on x86-64, not on macOS, unless it is switched off."""
    on = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    return on and platform.machine() in ("x86_64", "AMD64") and sys.platform != "darwin"


def sentences() -> list[str]:
    """Return what to tell at the end of a run: each thing that is missing, with the remedy."""
    found = []
    if models := missing():
        found.append(
            f"{', '.join(models)} 모델이 없어 그 모델의 시험과 셀을 비교하지 않았으니 make models를 실행하세요."
        )
    if builder.compiler() is None:
        found.append(f"C++ 컴파일러가 없어 그것이 필요한 셀을 비교하지 않았으니 {builder.REMEDY}.")
    return found


def need(name: str) -> None:
    """Skip the test unless the model is here."""
    if name in missing():
        pytest.skip(f"{name} 모델이 없습니다. 받으려면 {catalog.command(name)}를 실행하세요.")
