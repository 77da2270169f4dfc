"""The small backbone of practice 5.2 and project 1 after its pretraining."""

import numpy as np

from tf_study.data import fetch, store

WEIGHTS = 22


def small_backbone() -> list[np.ndarray]:
    """Return what the practice's backbone has learnt from the drawings of CIFAR-10 (``tools/train_backbone.py``).

    Returns:
        The weights of the backbone and of its head for the ten classes in the order of ``get_weights``, float32.

    Raises:
        StudyError: if the file is missing or not what the manifest says.
    """
    names = tuple(f"w{index}" for index in range(WEIGHTS))
    weights = fetch.read_npz(store.path("backbone/objects.npz"), names).values()
    return [weight.astype(np.float32) for weight in weights]
