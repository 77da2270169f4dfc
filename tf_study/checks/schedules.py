"""The reference schedule of practices 3.1 and 3.2."""

import keras
import numpy as np


def keras_cosine(steps, peak: float, warmup: int, total: int, floor: float = 0.0) -> np.ndarray:
    """Return the rates of Keras' own warm-up and cosine schedule, in the shape of ``steps``.

    ``total`` includes the warm-up.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else peak,
        total - warmup,
        alpha=floor / peak,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )
    return np.array([float(schedule(int(step))) for step in np.ravel(steps)]).reshape(np.shape(steps))
