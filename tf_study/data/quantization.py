"""What lecture 14.5 knows about a really trained model, SmolLM2-135M, on a machine that does not have it.

``tools/measure_quantization.py`` and ``tools/record_llmcompressor.py`` write the files.
"""

import json

import numpy as np

from tf_study.data import store

BLOCK = 10  # whose query projection is stored


def layer() -> dict[str, np.ndarray]:
    """Return a query projection and what it sees, float32.

    Returns:
        ``kernel`` (576, 192): its first three heads; inputs, in the order of the texts: ``calibration`` (512, 576) of
        English film reviews, ``english`` (256, 576) of others, ``korean`` (256, 576) of answers to instructions.
    """
    return {name: value.astype(np.float32) for name, value in _arrays("layer").items()}


def codes() -> dict[str, np.ndarray]:
    """Return the codes (576, 48) of llmcompressor's GPTQ for the first 48 columns of that kernel.

    Groups are of 64 inputs, the damping is 0.01: ``w4`` and ``w3`` in the order of the inputs, ``w4_order`` from the
    largest to the smallest.
    """
    return _arrays("llmcompressor")


def table() -> dict:
    """Return what was measured on the whole model.

    Returns:
        ``tokens``: language → test rows of token ids (8, 128); ``losses``: setting → language → mean loss of each row.
    """
    return json.loads(store.path("quantization/table.json").read_text(encoding="utf-8"))


def _arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(store.path(f"quantization/{name}.npz")) as file:
        return dict(file)
