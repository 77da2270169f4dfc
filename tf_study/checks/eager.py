"""For trainings so small that tracing their graphs would take longer than they do."""

import contextlib
import warnings
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Run every ``tf.function`` as plain Python while the block lasts, but for the functions of ``tf.data``."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Even though the `tf.config", UserWarning)  # tf.data says so.
            yield
    finally:
        tf.config.run_functions_eagerly(before)
