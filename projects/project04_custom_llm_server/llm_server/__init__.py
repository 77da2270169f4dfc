"""A language model behind OpenAI's API: a gateway, and engines that generate tokens.

Run from the project's folder::

    python -m llm_server serve
"""

import tf_study  # noqa: F401  Before TensorFlow: a silent import on the device that the profile asks for.
