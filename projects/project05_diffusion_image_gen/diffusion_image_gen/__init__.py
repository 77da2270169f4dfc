"""Pictures out of noise: train a small diffusion model, draw with it, judge it, export and serve it.

Run from the project's folder::

    python -m diffusion_image_gen sample --output digits.png
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
