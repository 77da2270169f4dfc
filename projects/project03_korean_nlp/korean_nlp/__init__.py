"""Korean texts in, their topics out: morphemes to TFRecord, a Bi-LSTM, and a report.

Run from the project's folder::

    python -m korean_nlp prepare embedded --part train --output ../../build/headlines/train
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
