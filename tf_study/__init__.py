"""Plumbing of the curriculum: profiles, data, plots, checks and the notebook tools.

Import this package before TensorFlow. It then loads without log noise and with the device the
profile asks for::

    import tf_study
    import tensorflow as tf

The subjects themselves are written out in the notebooks, not here.
"""

import sys

from tf_study import environment
from tf_study.errors import StudyError

try:
    environment.prepare()
except StudyError as error:
    # A notebook shows a StudyError as its one sentence; elsewhere the sentence ends the program.
    if "IPython" in sys.modules:
        raise
    sys.exit(str(error))
