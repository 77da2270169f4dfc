"""Clips out of noise: train a small video model, draw with it, judge it, take it apart, export and serve it.

Run from the project's folder::

    python -m mini_sora_dit sample --output clips.gif
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
