"""Korean reviews to sentiments: trains a BERT, writes it as a SavedModel that takes strings, serves it.

Run from the project's folder::

    python -m sentiment_analysis train --output 모델폴더
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
