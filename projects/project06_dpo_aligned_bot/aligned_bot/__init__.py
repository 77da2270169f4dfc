"""A Korean instruction bot with manners: learn from preferences, measure what came of it, serve it.

Run from the project's folder::

    python -m aligned_bot dpo world --output bot
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
