"""The data sets of the curriculum, by name.

The small profile (default) reads embedded files and never the network; the full profile (``TF_STUDY_PROFILE=full``)
reads the published sets from ``$TF_STUDY_DATA``, from a cache, or downloads them.

====================  =======================================  =============================================
function              returns                                  small / full
====================  =======================================  =============================================
mnist                 two pairs (images, labels)               subset / 60,000 and 10,000 digits
fashion_mnist         two pairs (images, labels)               subset / 60,000 and 10,000 garments
cifar10               two pairs (images, labels)               drawn stand-in / 50,000 and 10,000 objects
flowers               folder with one sub-folder per class     drawn stand-in / TF Flowers
moving_mnist          videos made from MNIST digits            any number
imdb                  two pairs (texts, labels)                written reviews / 25,000 and 25,000 reviews
nsmc                  two pairs (texts, labels)                written reviews / 150,000 and 50,000 reviews
topics_ko             two pairs (texts, labels)                735 written headlines
preferences_ko        list of prompt, chosen, rejected         310 written pairs
instructions_ko       list of instruction, input, output       310 written instructions
glove                 vocabulary and vectors                   5,000 / 400,000 words
fasttext              vocabulary and vectors of a .vec file    any file
efficientnet_weights  makes sure that Keras finds the weights  none / EfficientNetB0 without its head
====================  =======================================  =============================================

Sources and licences: ``README.md`` beside this file, or ``python main.py data``.
"""

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
    topics_ko,
)

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
    "topics_ko",
]
