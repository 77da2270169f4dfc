"""The small BERT of lecture 7.3 after its pretraining."""

import numpy as np

from tf_study.data import fetch, store

WEIGHTS = 42


def small_bert() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return what 720 steps of the lecture's own pretraining lead to (``tools/train_bert.py``); small profile.

    Returns:
        The weights in the order of ``TFBertForMaskedLM.trainable_variables``, float32; the loss of every step (720,);
        and rows of steps, loss and accuracy on the lecture's validation set (7, 3).

    Raises:
        StudyError: if the file is missing or not what the manifest says.
    """
    names = (*(f"w{index}" for index in range(WEIGHTS)), "log", "checks")
    *weights, log, checks = fetch.read_npz(store.path("bert/pretrained.npz"), names).values()
    return [weight.astype(np.float32) for weight in weights], log, checks
