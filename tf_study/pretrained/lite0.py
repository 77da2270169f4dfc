"""EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite edition of 2020) in Keras, with ImageNet weights.

Lite means: no squeeze-and-excitation, ReLU6 in place of Swish, and a stem and head that do not grow.
"""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

from tf_study.data.fetch import damaged
from tf_study.pretrained import store

# Repeats, kernel, stride, expansion, channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
CLASSES = 1000


def efficientnet_lite0(
    include_top: bool = True,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    pooling: str | None = None,
    weights: str | None = "imagenet",
):
    """Return the model; arguments as those of ``keras.applications``.

    Args:
        include_top: whether it ends in the logits of ImageNet's 1,000 classes.
        input_shape: of a picture, whose pixels are 0..255: the scaling is part of the model.
        pooling: without the top, ``"avg"`` for vectors (1280,), ``None`` for the feature map.
        weights: ``"imagenet"``, or ``None`` for random ones.

    Raises:
        StudyError: if the weights are not here, see ``python main.py models``.
    """
    import keras

    state = read(store.path("efficientnet_lite0")) if weights == "imagenet" else None
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(x)
    x = _convolution(x, "stem", 32, kernel=3, stride=2)
    number = 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            x = _block(x, f"block{number}", kernel, 1 if repeat else stride, expansion, channels)
            number += 1
    x = _convolution(x, "head", 1280)
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if include_top:
        x = keras.layers.Dense(CLASSES, name="logits")(x)
    model = keras.Model(inputs, x, name="efficientnet_lite0")
    if state is not None:
        _load(model, state, number)
    return model


def _block(x, name: str, kernel: int, stride: int, expansion: int, channels: int):
    """Expand, filter each channel by itself, project; add the input where the shapes agree."""
    import keras

    y = x
    if expansion > 1:
        y = _convolution(y, f"{name}_expand", expansion * x.shape[-1])
    y = _convolution(y, f"{name}_depthwise", None, kernel, stride)
    y = _convolution(y, f"{name}_project", channels, activation=False)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if y.shape == x.shape else y


def _convolution(
    x, name: str, filters: int | None, kernel: int = 1, stride: int = 1, activation: bool = True
):
    """Convolution, depthwise without ``filters``; batch normalization; ReLU6."""
    from keras import layers

    options = dict(strides=stride, padding="same", use_bias=False, name=name)
    if filters is None:
        x = layers.DepthwiseConv2D(kernel, **options)(x)
    else:
        x = layers.Conv2D(filters, kernel, **options)(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _load(model, state: dict[str, np.ndarray], blocks: int) -> None:
    """Copy the weights of the PyTorch model of the same name."""
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for number in range(blocks):
        parts = ("expand", "depthwise", "project") if number else ("depthwise", "project")
        for part in parts:
            norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[part]
            prefix = f"_blocks.{number}."
            names[f"block{number}_{part}"] = (f"{prefix}_{part}_conv", prefix + norm)
    for name, (convolution, norm) in names.items():
        axes = (2, 3, 0, 1) if name.endswith("depthwise") else (2, 3, 1, 0)
        model.get_layer(name).set_weights([state[f"{convolution}.weight"].transpose(axes)])
        kinds = ("weight", "bias", "running_mean", "running_var")
        model.get_layer(f"{name}_bn").set_weights([state[f"{norm}.{kind}"] for kind in kinds])
    if model.layers[-1].name == "logits":
        model.get_layer("logits").set_weights([state["_fc.weight"].T, state["_fc.bias"]])


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict in PyTorch's file format of before 2020; torch is not needed.

    Five pickles, then the numbers: of every storage, in the order of the last pickle, how many and what they are.

    Raises:
        StudyError: if the file is cut off or of another format.
    """
    try:
        with path.open("rb") as file:
            for _ in range(3):  # magic number, version, sizes of this machine's numbers
                pickle.Unpickler(file).load()
            reader = _Unpickler(file)
            state = reader.load()
            for key in pickle.Unpickler(file).load():
                storage = reader.storages[key]
                (count,) = np.frombuffer(file.read(8), "<i8")
                storage[:] = np.frombuffer(file.read(count * storage.itemsize), storage.dtype)
            return dict(state)
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path) from error


class _Unpickler(pickle.Unpickler):
    """Unpickles a dictionary of tensors as NumPy arrays, nothing else; the numbers are filled in later."""

    DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in self.DTYPES:
            return self.DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a state dict")

    def persistent_load(self, pid):
        _, dtype, key, _, count, _ = pid
        return self.storages.setdefault(key, np.empty(count, dtype))

    @staticmethod
    def _tensor(storage, offset, shape, stride, *rest):
        bytes_apart = tuple(step * storage.itemsize for step in stride)
        return np.ndarray(shape, storage.dtype, storage, offset * storage.itemsize, bytes_apart)
