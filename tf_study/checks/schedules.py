"""The reference schedule of practices 3.1 and 3.2."""

import functools

import keras
import numpy as np


def keras_cosine(steps, peak: float, warmup: int, total: int, floor: float = 0.0) -> np.ndarray:
    """Return the rates of Keras' own warm-up and cosine schedule, in the shape of ``steps``.

    ``total`` includes the warm-up.
    """
    rates = [_rate(int(step), peak, warmup, total, floor) for step in np.ravel(steps)]
    return np.array(rates).reshape(np.shape(steps))


@functools.cache
def _rate(step: int, peak: float, warmup: int, total: int, floor: float) -> float:
    return float(_schedule(peak, warmup, total, floor)(step))


@functools.cache
def _schedule(peak: float, warmup: int, total: int, floor: float) -> keras.optimizers.schedules.CosineDecay:
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else peak,
        total - warmup,
        alpha=floor / peak,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )
