"""A folder of pictures in, a classifier out: train, evaluate, export and predict.

Run from the project's folder::

    python -m image_classifier train 사진폴더 --output 모델폴더
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
