"""The classifier: augmentation, a backbone, a head, and what each stage of training may change.

Pixels go in as 0..255. What a backbone wants done with them is its own first layer, so an exported model
needs nothing beside itself.
"""

from dataclasses import dataclass

import keras
from keras import layers

from image_classifier.settings import Settings
from tf_study import data, optimizers, pretrained

# The last two of seven stages of blocks and what follows: beginnings of the names of layers.
TOPS = {
    "efficientnet": ("block6", "block7", "top"),
    "lite0": ("block11", "block12", "block13", "block14", "block15", "head"),
}


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    ``blocks``: beginnings of the names of the backbone's layers that learn, besides the head.
    ``norms``: whether batch normalisation is among them.
    """

    title: str
    blocks: tuple[str, ...]
    norms: bool
    epochs: int
    rate: float


def stages(settings: Settings) -> list[Stage]:
    """Return the stages: the head, then the backbone too; only one if nothing was learnt before."""
    head, fine = settings.epochs
    if not settings.pretrained:
        return [Stage("전체", ("",), True, fine, 3e-3)]
    if settings.backbone in TOPS:
        top = TOPS[settings.backbone]
        return [Stage("머리", (), False, head, 1e-3), Stage("미세 조정", top, False, fine, 1e-4)]
    return [Stage("머리", (), False, head, 1e-2), Stage("미세 조정", ("",), True, fine, 2e-3)]


def build(settings: Settings, classes: int) -> keras.Model:
    """Return the untrained classifier, (B, side, side, 3) in 0..255 → logits (B, classes).

    Raises:
        StudyError: if pretrained weights are wanted and cannot be had.
    """
    keras.utils.set_random_seed(settings.seed)
    makers = {"small": _small, "efficientnet": _efficientnet, "lite0": _lite0}
    backbone = makers[settings.backbone](settings)
    inputs = keras.Input((settings.side, settings.side, 3))
    hidden = layers.RandomFlip("horizontal", name="flip")(inputs)
    hidden = layers.RandomRotation(0.05, name="rotation")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(backbone(hidden))
    hidden = layers.Dropout(0.2, name="dropout")(hidden)
    return keras.Model(inputs, layers.Dense(classes, name="head")(hidden))


def prepare(model: keras.Model, stage: Stage, steps: int) -> None:
    """Freeze and free layers for a stage and compile with a fresh optimizer; ``steps`` in an epoch."""
    backbone = model.get_layer("backbone")
    backbone.trainable = True  # Also sets every layer inside, so the layers come after it.
    for layer in backbone.layers:
        norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = layer.name.startswith(stage.blocks) and (stage.norms or not norm)
    rate = keras.optimizers.schedules.CosineDecay(stage.rate, max(1, steps * stage.epochs))
    _compile(model, rate)


def reseed(model: keras.Model, seed: int) -> None:
    """Restart the random numbers of augmentation and dropout, whose state a saved model does not keep."""
    for index, variable in enumerate(model.non_trainable_variables):
        if "seed_generator" in variable.path:
            variable.assign([seed, index])


def deployable(model: keras.Model) -> keras.Model:
    """Return the model for use: no augmentation, no dropout, probabilities instead of logits."""
    inputs = keras.Input(model.input_shape[1:], name="picture")
    hidden = inputs
    for name in ("backbone", "pool", "head"):
        hidden = model.get_layer(name)(hidden)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(hidden))


def _compile(model: keras.Model, rate: keras.optimizers.schedules.LearningRateSchedule) -> None:
    """Compile a classifier that answers with logits, with a fresh optimizer."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # With variables that are there already, Keras makes the graph of a step once and not twice.
    model.compile(optimizers.Adam(rate), loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])
    model.optimizer.build(model.trainable_variables)


def _efficientnet(settings: Settings) -> keras.Model:
    """Return EfficientNetB0, (B, side, side, 3) in 0..255 → (B, side / 32, side / 32, 1280)."""
    return keras.applications.EfficientNetB0(
        include_top=False,
        weights=data.efficientnet_weights() if settings.pretrained else None,
        input_shape=(settings.side, settings.side, 3),
        name="backbone",
    )


def _lite0(settings: Settings) -> keras.Model:
    """Return EfficientNet-Lite0, (B, side, side, 3) in 0..255 → (B, side / 32, side / 32, 1280)."""
    net = pretrained.efficientnet_lite0(
        include_top=False,
        input_shape=(settings.side, settings.side, 3),
        weights="imagenet" if settings.pretrained else None,
    )
    return keras.Model(net.input, net.output, name="backbone")


def _small(settings: Settings) -> keras.Model:
    """Return the four convolution blocks of practice 5.2, (B, H, W, 3) in 0..255 → (B, H / 8, W / 8, 96)."""
    net = keras.Sequential([keras.Input((None, None, 3)), layers.Rescaling(1 / 127.5, -1)], name="backbone")
    for index, filters in enumerate((16, 32, 64, 96), start=1):
        stride = 2 if index == 1 else 1
        net.add(layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"block{index}_conv"))
        net.add(layers.BatchNormalization(momentum=0.9, name=f"block{index}_bn"))
        net.add(layers.ReLU(name=f"block{index}_relu"))
        if index in (2, 3):
            net.add(layers.MaxPooling2D(name=f"block{index}_pool"))
    if settings.pretrained:
        net.set_weights(data.small_backbone()[: len(net.weights)])  # what is left is its head
    return net
