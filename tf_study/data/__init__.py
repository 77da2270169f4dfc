"""The data sets of the curriculum, by name.

The small profile (default) reads embedded files and never the network; the full profile (``TF_STUDY_PROFILE=full``)
reads the published sets from ``$TF_STUDY_DATA``, from a cache, or downloads them.

What there is, how much of it in each profile, its sources and licences: ``python main.py data``, ``catalog.py`` and
``README.md`` beside this file. Besides those data sets, :func:`fasttext` reads a ``.vec`` file of the learner's own,
:func:`efficientnet_weights` makes sure that Keras finds its ImageNet weights, :func:`vllm_blocks` returns what vLLM
decided, and :func:`small_bert` and :func:`small_backbone` what the pretraining of lecture 7.3 and of practice 5.2 leads
to.
"""

from tf_study.data.backbone import small_backbone
from tf_study.data.bert import small_bert
from tf_study.data.images import (
    CIFAR10_CLASSES,
    CIFAR10_CLASSES_KO,
    FASHION_CLASSES,
    FASHION_CLASSES_KO,
    FLOWER_CLASSES,
    FLOWER_CLASSES_KO,
    cifar10,
    efficientnet_weights,
    fashion_mnist,
    flowers,
    mnist,
    moving_mnist,
)
from tf_study.data.texts import (
    SENTIMENTS,
    TOPICS,
    fasttext,
    glove,
    imdb,
    instructions_ko,
    nsmc,
    preferences_ko,
    reviews_ko,
    topics_ko,
)
from tf_study.data.traces import vllm_blocks

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR10_CLASSES_KO",
    "FASHION_CLASSES",
    "FASHION_CLASSES_KO",
    "FLOWER_CLASSES",
    "FLOWER_CLASSES_KO",
    "SENTIMENTS",
    "TOPICS",
    "cifar10",
    "efficientnet_weights",
    "fashion_mnist",
    "fasttext",
    "flowers",
    "glove",
    "imdb",
    "instructions_ko",
    "mnist",
    "moving_mnist",
    "nsmc",
    "preferences_ko",
    "reviews_ko",
    "small_backbone",
    "small_bert",
    "topics_ko",
    "vllm_blocks",
]
