"""Answers to practice 2.1: preprocessing, three ways to build a model, and a training."""

import sys

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import data, optimizers

RIGHT, WRONG = Answers(), Answers()

L = keras.layers


def _one_hot(labels, num_classes):
    return keras.utils.to_categorical(labels, num_classes).astype("float32")


def _rows(images):
    return images.reshape(len(images), -1).astype("float32") / 255


@RIGHT("preprocess")
def preprocess_tensors(images, labels, num_classes):
    """Tensors throughout."""
    X = tf.reshape(tf.cast(images, tf.float32) / 255, (len(images), -1))
    return X, tf.one_hot(labels, num_classes)


@RIGHT("preprocess")
def preprocess_layers(images, labels, num_classes):
    """Keras layers; returned as a list."""
    X = L.Flatten()(L.Rescaling(1 / 255)(images))
    return [X, L.CategoryEncoding(num_classes, output_mode="one_hot")(labels)]


@RIGHT("preprocess")
def preprocess_loop(images, labels, num_classes):
    """One picture after the other in NumPy; multiplied by 1/255 in float64 first."""
    X = np.stack([image.ravel() * (1 / 255) for image in images]).astype("float32")
    Y = np.zeros((len(labels), num_classes), "float32")
    Y[np.arange(len(labels)), labels] = 1
    return X, Y


@WRONG("preprocess")
def preprocess_not_scaled(images, labels, num_classes):
    """Forget to divide by 255."""
    return _rows(images) * 255, _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_integer_division(images, labels, num_classes):
    """Integer division: almost everything is 0."""
    X = (images // 255).reshape(len(images), -1).astype("float32")
    return X, _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_batch_maximum(images, labels, num_classes):
    """Divide by the largest pixel of the batch."""
    X = images.reshape(len(images), -1) / max(images.max(), 1)
    return X.astype("float32"), _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_by_256(images, labels, num_classes):
    """Divide by 256."""
    return _rows(images) * np.float32(255 / 256), _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_columns_first(images, labels, num_classes):
    """Flatten column by column."""
    return _rows(images.transpose(0, 2, 1)), _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_float64(images, labels, num_classes):
    """Leave the pixels in float64."""
    return images.reshape(len(images), -1) / 255, _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_not_flat(images, labels, num_classes):
    """Keep the picture's two axes."""
    return images.astype("float32") / 255, _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_square_only(images, labels, num_classes):
    """Right only for square pictures."""
    return (images.astype("float32") / 255).reshape(-1, images.shape[1] ** 2), _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_integer_labels(images, labels, num_classes):
    """Return the labels as they are."""
    return _rows(images), labels


@WRONG("preprocess")
def preprocess_classes_from_labels(images, labels, num_classes):
    """Take the number of classes from the largest label."""
    return _rows(images), _one_hot(labels, int(labels.max()) + 1)


@WRONG("preprocess")
def preprocess_integer_one_hot(images, labels, num_classes):
    """One-hot of integers instead of float32."""
    return _rows(images), np.eye(num_classes, dtype=int)[labels]


@WRONG("preprocess")
def preprocess_standardised(images, labels, num_classes):
    """Standardise instead of scaling to 0..1."""
    X = _rows(images)
    return (X - X.mean()) / (X.std() + 1e-7), _one_hot(labels, num_classes)


@WRONG("preprocess")
def preprocess_only_inputs(images, labels, num_classes):
    """Return the pixels alone."""
    return _rows(images)


@WRONG("preprocess")
def preprocess_in_place(images, labels, num_classes):
    """Right result, but the given labels are overwritten."""
    result = _rows(images), _one_hot(labels, num_classes)
    labels[:] = 0
    return result


@WRONG("preprocess")
def preprocess_example(images, labels, num_classes):
    """Hard-coded for the example."""
    return np.array([[0, 0.2, 0.4, 1]], "float32"), np.array([[0, 0, 1]], "float32")


def _dense_count(sizes):
    return sum(a * b + b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


@RIGHT("count_parameters")
def count_by_product(sizes, batch_norm):
    """Array products: NumPy integers and a list."""
    sizes = np.array(sizes)
    dense = (sizes[:-1] + 1) @ sizes[1:]
    norm = 2 * batch_norm * sizes[1:-1].sum()
    return [dense + norm, norm]


@RIGHT("count_parameters")
def count_layer_by_layer(sizes, batch_norm):
    """A loop over the layers."""
    trained = frozen = 0
    for place in range(1, len(sizes)):
        trained += sizes[place] * (sizes[place - 1] + 1)
        if batch_norm and place < len(sizes) - 1:
            trained, frozen = trained + 2 * sizes[place], frozen + 2 * sizes[place]
    return trained, frozen


@WRONG("count_parameters")
def count_floats(sizes, batch_norm):
    """The right numbers as floats."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return float(_dense_count(sizes) + norm), float(norm)


@WRONG("count_parameters")
def count_eats_the_list(sizes, batch_norm):
    """Take the given list apart."""
    dense = norm = 0
    while len(sizes) > 1:
        n_in = sizes.pop(0)
        dense += (n_in + 1) * sizes[0]
        norm += 2 * sizes[0] * (batch_norm and len(sizes) > 1)
    return dense + norm, norm


@WRONG("count_parameters")
def count_no_bias(sizes, batch_norm):
    """Forget the biases."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return _dense_count(sizes) - sum(sizes[1:]) + norm, norm


@WRONG("count_parameters")
def count_input_bias(sizes, batch_norm):
    """Add a bias per input instead of per output."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return sum(a * b + a for a, b in zip(sizes[:-1], sizes[1:], strict=True)) + norm, norm


@WRONG("count_parameters")
def count_norm_on_output(sizes, batch_norm):
    """Batch normalisation after the output layer too."""
    norm = 2 * sum(sizes[1:]) * batch_norm
    return _dense_count(sizes) + norm, norm


@WRONG("count_parameters")
def count_all_trainable(sizes, batch_norm):
    """Count all four numbers of batch normalisation as trainable."""
    return _dense_count(sizes) + 4 * sum(sizes[1:-1]) * batch_norm, 0


@WRONG("count_parameters")
def count_norm_ignored(sizes, batch_norm):
    """Ignore batch normalisation."""
    return _dense_count(sizes), 0


@WRONG("count_parameters")
def count_norm_always(sizes, batch_norm):
    """Ignore the flag."""
    norm = 2 * sum(sizes[1:-1])
    return _dense_count(sizes) + norm, norm


@WRONG("count_parameters")
def count_norm_halved(sizes, batch_norm):
    """One number per unit instead of two."""
    norm = sum(sizes[1:-1]) * batch_norm
    return _dense_count(sizes) + norm, norm


@WRONG("count_parameters")
def count_two_layers(sizes, batch_norm):
    """Right only for one hidden layer."""
    a, b, c = sizes[0], sizes[1], sizes[-1]
    norm = 2 * b * batch_norm
    return a * b + b + b * c + c + norm, norm


@WRONG("count_parameters")
def count_swapped(sizes, batch_norm):
    """The two numbers in the wrong order."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return norm, _dense_count(sizes) + norm


@WRONG("count_parameters")
def count_total(sizes, batch_norm):
    """Return one total."""
    return _dense_count(sizes) + 4 * sum(sizes[1:-1]) * batch_norm


@WRONG("count_parameters")
def count_example(sizes, batch_norm):
    """Hard-coded for the example."""
    return (29, 6) if batch_norm else (23, 0)


def _stack(input_shape, units, num_classes, hidden="relu", last="softmax", rate=None, **options):
    layers = [L.Dense(n, activation=hidden, **options) for n in units]
    dropout = [] if rate is None else [L.Dropout(rate)]
    output = L.Dense(num_classes, activation=last, **options)
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, *dropout, output])


@RIGHT("build_sequential")
def sequential_zero_head(input_shape, units, num_classes):
    """An output layer that starts at zero, which learns as well."""
    hidden = [L.Dense(n, activation="relu") for n in units]
    output = L.Dense(num_classes, activation="softmax", kernel_initializer="zeros")
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *hidden, output])


@RIGHT("build_sequential")
def sequential_added(input_shape, units, num_classes):
    """add() layer by layer, activations as layers, Reshape instead of Flatten."""
    model = keras.Sequential()
    model.add(L.InputLayer(shape=input_shape))
    model.add(L.Reshape((-1,)))
    for n in units:
        model.add(L.Dense(n))
        model.add(L.ReLU())
    model.add(L.Dense(num_classes))
    model.add(L.Softmax())
    return model


@RIGHT("build_sequential")
def sequential_built(input_shape, units, num_classes):
    """build() instead of Input; activations as functions and another initialisation."""
    hidden = [L.Dense(n, tf.nn.relu, kernel_initializer="he_normal") for n in units]
    output = L.Dense(num_classes, keras.activations.softmax)
    model = keras.Sequential([L.Flatten(), *hidden, output], name="classifier")
    model.build((None, *input_shape))
    return model


WRONG.add("build_sequential", _stack, "No softmax.", last=None)
WRONG.add("build_sequential", _stack, "Sigmoid instead of softmax.", last="sigmoid")
WRONG.add("build_sequential", _stack, "Hidden layers without activation.", hidden=None)
WRONG.add("build_sequential", _stack, "tanh instead of ReLU.", hidden="tanh")
WRONG.add("build_sequential", _stack, "A dropout layer that nobody asked for.", rate=0.5)
WRONG.add("build_sequential", _stack, "Kernels that start at zero.", kernel_initializer="zeros")
WRONG.add("build_sequential", _stack, "Kernels that start at one.", kernel_initializer="ones")
WRONG.add("build_sequential", _stack, "Layers that do not learn.", trainable=False)


@WRONG("build_sequential")
def sequential_appends(input_shape, units, num_classes):
    """Append the output layer's size to the given list."""
    units.append(num_classes)
    return _stack(input_shape, units[:-1], units[-1])


@WRONG("build_sequential")
def sequential_not_built(input_shape, units, num_classes):
    """No Input: no weights before the first data."""
    layers = [L.Dense(n, activation="relu") for n in units]
    return keras.Sequential([L.Flatten(), *layers, L.Dense(num_classes, activation="softmax")])


@WRONG("build_sequential")
def sequential_first_units(input_shape, units, num_classes):
    """Only the first hidden layer."""
    return _stack(input_shape, units[:1], num_classes)


@WRONG("build_sequential")
def sequential_reversed(input_shape, units, num_classes):
    """Hidden layers in the opposite order."""
    return _stack(input_shape, [*units[::-1], 3], num_classes)


@WRONG("build_sequential")
def sequential_ten_classes(input_shape, units, num_classes):
    """Ten classes whatever is asked."""
    return _stack(input_shape, units, 10)


@WRONG("build_sequential")
def sequential_not_flat(input_shape, units, num_classes):
    """No Flatten: Dense works on the last axis."""
    layers = [L.Dense(n, activation="relu") for n in units]
    return keras.Sequential([keras.Input(input_shape), *layers, L.Dense(num_classes, activation="softmax")])


@WRONG("build_sequential")
def sequential_rescaling(input_shape, units, num_classes):
    """Divide by 255 once more inside the model."""
    model = _stack(input_shape, units, num_classes)
    return keras.Sequential([keras.Input(input_shape), L.Rescaling(1 / 255), *model.layers])


@WRONG("build_sequential")
def sequential_functional(input_shape, units, num_classes):
    """The same computation with the functional API."""
    x = keras.Input(input_shape)
    return keras.Model(x, _stack(input_shape, units, num_classes)(x))


@WRONG("build_sequential")
def sequential_extra_relu(input_shape, units, num_classes):
    """ReLU in front of the softmax."""
    layers = [L.Dense(n, activation="relu") for n in (*units, num_classes)]
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, L.Softmax()])


@WRONG("build_sequential")
def sequential_no_bias(input_shape, units, num_classes):
    """No biases."""
    layers = [L.Dense(n, activation="relu", use_bias=False) for n in units]
    output = L.Dense(num_classes, activation="softmax", use_bias=False)
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, output])


_CACHE = {}


@WRONG("build_sequential")
def sequential_cached(input_shape, units, num_classes):
    """Give the same model for the same arguments."""
    key = input_shape, tuple(units), num_classes
    return _CACHE.setdefault(key, _stack(*key))


@WRONG("build_sequential")
def sequential_nothing(input_shape, units, num_classes):
    """Forget to return the model."""
    _stack(input_shape, units, num_classes)


def _functional(
    n_in,
    width,
    hidden,
    num_classes,
    merge=None,
    inner="relu",
    outer=None,
    shoe="sigmoid",
    drop=None,
    options=None,
):
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu", name="stem", **(options or {}))(x)
    f = L.Dense(hidden, activation=inner, name="inner")(h)
    f = L.Dense(width, activation=outer, name="outer")(f)
    r = (merge or (lambda h, f: L.Add()([h, f])))(h, f)
    label = L.Dense(num_classes, activation="softmax", name="label")(r)
    return x, r, label, L.Dense(1, activation=shoe, name="shoe")((drop or (lambda r: r))(r))


def _model(*args, **kwargs):
    x, _, label, shoe = _functional(*args, **kwargs)
    return keras.Model(x, {"label": label, "shoe": shoe})


@RIGHT("build_functional")
def functional_operators(n_in, width, hidden, num_classes):
    """Operators instead of layers between the named layers."""
    x = keras.Input(shape=(n_in,), name="pixels")
    h = keras.ops.relu(L.Dense(width, name="stem")(x))
    r = h + L.Dense(width, name="outer")(keras.ops.relu(L.Dense(hidden, name="inner")(h)))
    label = keras.ops.softmax(L.Dense(num_classes, name="label")(r))
    shoe = keras.ops.sigmoid(L.Dense(1, name="shoe")(r))
    return keras.Model(x, outputs={"shoe": shoe, "label": label})


@RIGHT("build_functional")
def functional_activation_layers(n_in, width, hidden, num_classes):
    """Activations as layers, the sum the other way round."""
    x = keras.Input((n_in,))
    h = L.ReLU()(L.Dense(width, name="stem")(x))
    f = L.Dense(hidden, name="inner")(h)
    f = L.Dense(width, name="outer")(L.Activation("relu")(f))
    r = L.add([f, h])
    label = L.Softmax()(L.Dense(num_classes, name="label")(r))
    shoe = L.Dense(1, name="shoe", activation=tf.nn.sigmoid)(r)
    return keras.Model([x], {"label": label, "shoe": shoe})


WRONG.add("build_functional", _model, "Overwrite h: nothing is added.", merge=lambda h, f: f)


@WRONG("build_functional")
def functional_input_added(n_in, width, hidden, num_classes):
    """Add the input instead of the stem where the shapes allow it."""
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu", name="stem")(x)
    f = L.Dense(hidden, activation="relu", name="inner")(h)
    f = L.Dense(width, name="outer")(f)
    r = L.Add()([x if n_in == width else h, f])
    label = L.Dense(num_classes, activation="softmax", name="label")(r)
    return keras.Model(x, {"label": label, "shoe": L.Dense(1, activation="sigmoid", name="shoe")(r)})


WRONG.add("build_functional", _model, "Add the branch to itself.", merge=lambda h, f: L.Add()([f, f]))
WRONG.add("build_functional", _model, "Multiply instead of adding.", merge=lambda h, f: L.Multiply()([h, f]))
WRONG.add("build_functional", _model, "Dropout in front of the second output.", drop=L.Dropout(0.3))
WRONG.add("build_functional", _model, "A first layer that does not learn.", options={"trainable": False})
WRONG.add("build_functional", _model, "A first layer of zeros.", options={"kernel_initializer": "zeros"})
WRONG.add("build_functional", _model, "Average instead of adding.", merge=lambda h, f: L.Average()([h, f]))
WRONG.add(
    "build_functional", _model, "Concatenate instead of adding.", merge=lambda h, f: L.Concatenate()([h, f])
)
WRONG.add("build_functional", _model, "ReLU after the sum.", merge=lambda h, f: L.ReLU()(L.Add()([h, f])))
WRONG.add("build_functional", _model, "ReLU on the branch before the sum.", outer="relu")
WRONG.add("build_functional", _model, "No ReLU inside the branch.", inner=None)
WRONG.add("build_functional", _model, "No sigmoid on the second output.", shoe=None)
WRONG.add("build_functional", _model, "Softmax over one unit: always 1.", shoe="softmax")


@WRONG("build_functional")
def functional_list(n_in, width, hidden, num_classes):
    """Outputs in a list instead of a dictionary."""
    x, _, label, shoe = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, [label, shoe])


@WRONG("build_functional")
def functional_one_output(n_in, width, hidden, num_classes):
    """Only the first output."""
    x, _, label, _ = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": label})


@WRONG("build_functional")
def functional_swapped(n_in, width, hidden, num_classes):
    """The two outputs under each other's name."""
    x, _, label, shoe = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": shoe, "shoe": label})


@WRONG("build_functional")
def functional_shoe_on_label(n_in, width, hidden, num_classes):
    """The second head reads the first one's probabilities."""
    x, _, label, _ = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": label, "shoe": L.Dense(1, activation="sigmoid", name="shoe")(label)})


@WRONG("build_functional")
def functional_unnamed(n_in, width, hidden, num_classes):
    """Layers without the names."""
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu")(x)
    r = L.Add()([h, L.Dense(width)(L.Dense(hidden, activation="relu")(h))])
    label, shoe = L.Dense(num_classes, activation="softmax")(r), L.Dense(1, activation="sigmoid")(r)
    return keras.Model(x, {"label": label, "shoe": shoe})


@WRONG("build_functional")
def functional_nothing(n_in, width, hidden, num_classes):
    """Forget to return the model."""
    _model(n_in, width, hidden, num_classes)


@RIGHT("residual_layer")
class BlockRight(L.Layer):
    """The solution, from which the wrong ones differ in one method."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.scale = hidden, scale

    def build(self, input_shape):
        n, m = input_shape[-1], self.hidden
        self.W1 = self.add_weight(shape=(n, m), initializer="glorot_uniform", name="W1")
        self.b1 = self.add_weight(shape=(m,), initializer="zeros", name="b1")
        self.W2 = self.add_weight(shape=(m, n), initializer="glorot_uniform", name="W2")
        self.b2 = self.add_weight(shape=(n,), initializer="zeros", name="b2")

    def branch(self, x):
        return tf.nn.relu(x @ self.W1 + self.b1) @ self.W2 + self.b2

    def call(self, x):
        return x + self.scale * self.branch(x)

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "scale": self.scale}


@RIGHT("residual_layer")
class BlockOps(L.Layer):
    """keras.ops, other initialisations, and the configuration written key by key."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.factor = hidden, float(scale)

    def build(self, input_shape):
        shapes = [
            (input_shape[-1], self.units),
            (self.units,),
            (self.units, input_shape[-1]),
            (input_shape[-1],),
        ]
        self.parts = [
            self.add_weight(shape=s, initializer="zeros" if len(s) == 1 else "he_normal") for s in shapes
        ]
        super().build(input_shape)

    def call(self, inputs, training=None):
        W1, b1, W2, b2 = self.parts
        inside = keras.ops.relu(keras.ops.matmul(inputs, W1) + b1)
        return inputs + self.factor * keras.ops.add(keras.ops.matmul(inside, W2), b2)

    def get_config(self):
        config = super().get_config()
        config.update({"hidden": self.units, "scale": self.factor})
        return config


@RIGHT("residual_layer")
class BlockFunctional(BlockRight):
    """tensordot over the last axis and a where for the ReLU."""

    def call(self, x):
        z = tf.tensordot(x, self.W1, 1) + self.b1
        z = tf.where(z > 0, z, 0.0)
        return self.scale * self.b2 + x + tf.tensordot(self.scale * z, self.W2, 1)


@WRONG("residual_layer")
class BlockDense(BlockRight):
    """Two Dense layers inside instead of weights of its own."""

    def build(self, input_shape):
        self.inner, self.outer = L.Dense(self.hidden, activation="relu"), L.Dense(input_shape[-1])
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.hidden))

    def branch(self, x):
        return self.outer(self.inner(x))


@WRONG("residual_layer")
class BlockNoSkip(BlockRight):
    """The input is not added."""

    def call(self, x):
        return self.scale * self.branch(x)


@WRONG("residual_layer")
class BlockNoScale(BlockRight):
    """The scale is forgotten."""

    def call(self, x):
        return x + self.branch(x)


@WRONG("residual_layer")
class BlockScaledSum(BlockRight):
    """The scale multiplies the input too."""

    def call(self, x):
        return self.scale * (x + self.branch(x))


@WRONG("residual_layer")
class BlockLinear(BlockRight):
    """No ReLU."""

    def call(self, x):
        return x + self.scale * ((x @ self.W1 + self.b1) @ self.W2 + self.b2)


@WRONG("residual_layer")
class BlockReluLast(BlockRight):
    """ReLU on the result."""

    def call(self, x):
        return tf.nn.relu(x + self.scale * self.branch(x))


@WRONG("residual_layer")
class BlockBiasOutside(BlockRight):
    """The second bias is not scaled."""

    def call(self, x):
        return x + self.scale * (tf.nn.relu(x @ self.W1 + self.b1) @ self.W2) + self.b2


@WRONG("residual_layer")
class BlockNoFirstBias(BlockRight):
    """The first bias is never used."""

    def call(self, x):
        return x + self.scale * (tf.nn.relu(x @ self.W1) @ self.W2 + self.b2)


@WRONG("residual_layer")
class BlockMinus(BlockRight):
    """The branch with the opposite sign."""

    def call(self, x):
        return x - self.scale * self.branch(x)


@WRONG("residual_layer")
class BlockConfigForgets(BlockRight):
    """get_config without the scale."""

    def get_config(self):
        return {**L.Layer.get_config(self), "hidden": self.hidden}


@WRONG("residual_layer")
class BlockConfigDefault(BlockRight):
    """get_config with the default instead of the real scale."""

    def get_config(self):
        return {**super().get_config(), "scale": 1.0}


@WRONG("residual_layer")
class BlockConfigNoName(BlockRight):
    """get_config without the parent's entries."""

    def get_config(self):
        return {"hidden": self.hidden, "scale": self.scale}


@WRONG("residual_layer")
class BlockNoName(BlockRight):
    """The keyword arguments are not handed to the parent."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        L.Layer.__init__(self)
        self.hidden, self.scale = hidden, scale


@WRONG("residual_layer")
class BlockScaleHalf(BlockRight):
    """Another default of the scale."""

    def __init__(self, hidden, scale=0.5, **kwargs):
        super().__init__(hidden, scale, **kwargs)


@WRONG("residual_layer")
class BlockOrder(BlockRight):
    """Weights in another order."""

    def build(self, input_shape):
        n, m = input_shape[-1], self.hidden
        self.W1 = self.add_weight(shape=(n, m), initializer="glorot_uniform", name="W1")
        self.W2 = self.add_weight(shape=(m, n), initializer="glorot_uniform", name="W2")
        self.b1 = self.add_weight(shape=(m,), initializer="zeros", name="b1")
        self.b2 = self.add_weight(shape=(n,), initializer="zeros", name="b2")


@WRONG("residual_layer")
class BlockBiasOnes(BlockRight):
    """Biases that start at 1."""

    def build(self, input_shape):
        super().build(input_shape)
        self.b1.assign(tf.ones_like(self.b1))


@WRONG("residual_layer")
class BlockZeros(BlockRight):
    """Every weight starts at 0: nothing is ever learned."""

    def build(self, input_shape):
        super().build(input_shape)
        for w in self.weights:
            w.assign(tf.zeros_like(w))


@WRONG("residual_layer")
class BlockBatchAxis(BlockRight):
    """Size taken from axis 1: right only for two axes."""

    def build(self, input_shape):
        super().build(input_shape[:2])


@WRONG("residual_layer")
class BlockFrozen(BlockRight):
    """Biases that are not trainable."""

    def build(self, input_shape):
        super().build(input_shape)
        self.b1.trainable = False


@WRONG("residual_layer")
class BlockFlat(BlockRight):
    """The weights are made in the constructor for one size."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        super().__init__(hidden, scale, **kwargs)
        super().build((None, 4))

    def build(self, input_shape):
        pass


@WRONG("residual_layer")
class BlockNumpy(BlockRight):
    """Computed with NumPy: fails inside tf.function."""

    def call(self, x):
        return x + self.scale * tf.constant(self.branch(x).numpy())


@WRONG("residual_layer")
class BlockLoose(BlockRight):
    """Plain tensors instead of weights: nothing to train."""

    def build(self, input_shape):
        n, m = input_shape[-1], self.hidden
        self.W1, self.b1 = tf.random.normal((n, m)), tf.zeros(m)
        self.W2, self.b2 = tf.random.normal((m, n)), tf.zeros(n)


@RIGHT("residual_net")
class NetRight(keras.Model):
    """The solution, from which the wrong ones differ in one method."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(**kwargs)
        self.width, self.hidden, self.num_classes, self.rate = width, hidden, num_classes, rate
        self.stem = L.Dense(width, activation="relu")
        self.residual = BlockRight(hidden)
        self.dropout = L.Dropout(rate)
        self.head = L.Dense(num_classes, activation="softmax")

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=training))

    def get_config(self):
        own = {"width": self.width, "hidden": self.hidden, "num_classes": self.num_classes}
        return {**super().get_config(), **own, "rate": self.rate}


@RIGHT("residual_net")
@keras.saving.register_keras_serializable(package="answers")
class NetImplicit(keras.Model):
    """training is left to Keras; the layers are small models and a layer of another kind; arguments in one dictionary."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(**kwargs)
        self.options = {"width": width, "hidden": hidden, "num_classes": num_classes, "rate": rate}
        self.stem = keras.Sequential([L.Dense(width), L.ReLU()])
        self.residual, self.dropout = BlockOps(hidden), L.Dropout(rate)
        self.head = keras.Sequential([L.Dense(num_classes), L.Softmax()])

    def call(self, inputs):
        return self.head(self.dropout(self.residual(self.stem(inputs))))

    def get_config(self):
        return super().get_config() | self.options


@WRONG("residual_net")
class NetNoTraining(NetRight):
    """Dropout is told that this is never training."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=False))


@WRONG("residual_net")
class NetAlwaysTraining(NetRight):
    """Dropout is always on."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=True))


@WRONG("residual_net")
class NetSkipsDropout(NetRight):
    """The dropout layer is never called."""

    def call(self, x, training=False):
        return self.head(self.residual(self.stem(x)))


@WRONG("residual_net")
class NetDropoutEarly(NetRight):
    """Dropout in front of the residual layer."""

    def call(self, x, training=False):
        return self.head(self.residual(self.dropout(self.stem(x), training=training)))


@WRONG("residual_net")
class NetDropoutTwice(NetRight):
    """Dropout twice."""

    def call(self, x, training=False):
        r = self.dropout(self.residual(self.stem(x)), training=training)
        return self.head(self.dropout(r, training=training))


@WRONG("residual_net")
class NetDropoutLast(NetRight):
    """Dropout on the probabilities."""

    def call(self, x, training=False):
        return self.dropout(self.head(self.residual(self.stem(x))), training=training)


@WRONG("residual_net")
class NetKeepRate(NetRight):
    """Take the rate for the share that is kept."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.dropout = L.Dropout(1 - rate)


@WRONG("residual_net")
class NetFixedRate(NetRight):
    """The rate is always 0.5."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.dropout = L.Dropout(0.5)


@WRONG("residual_net")
class NetNoResidual(NetRight):
    """The residual layer is never called."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.stem(x), training=training))


@WRONG("residual_net")
class NetLogits(NetRight):
    """No softmax."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.head = L.Dense(num_classes)


@WRONG("residual_net")
class NetLinearStem(NetRight):
    """No ReLU in the first layer."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.stem = L.Dense(width)


@WRONG("residual_net")
class NetHiddenIsWidth(NetRight):
    """The residual layer gets the width instead of the hidden size."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.residual = BlockRight(width)


@WRONG("residual_net")
class NetHalfScale(NetRight):
    """Another scale of the residual layer."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.residual = BlockRight(hidden, 0.5)


@WRONG("residual_net")
class NetConfigForgets(NetRight):
    """get_config without the rate."""

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "rate"}


@WRONG("residual_net")
class NetConfigDefault(NetRight):
    """get_config with the default rate."""

    def get_config(self):
        return {**super().get_config(), "rate": 0.2}


@WRONG("residual_net")
class NetNoConfig(keras.Model):
    """No get_config: Keras writes down the defaults."""

    def __init__(self, width=4, hidden=3, num_classes=2, rate=0.2, **kwargs):
        super().__init__(**kwargs)
        self.stem, self.residual = L.Dense(width, activation="relu"), BlockRight(hidden)
        self.dropout, self.head = L.Dropout(rate), L.Dense(num_classes, activation="softmax")

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=training))


@WRONG("residual_net")
class NetNoKeywords(NetRight):
    """The name is not handed to the parent."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate)


@WRONG("residual_net")
class NetOtherNames(NetRight):
    """The output layer under another name."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.out, self.head = self.head, None

    def call(self, x, training=False):
        return self.out(self.dropout(self.residual(self.stem(x)), training=training))


@WRONG("residual_net")
class NetDefaultRate(NetRight):
    """Another default rate."""

    def __init__(self, width, hidden, num_classes, rate=0.5, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)


@WRONG("residual_net")
class NetFrozen(NetRight):
    """The first layer does not learn."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.stem.trainable = False


@WRONG("residual_net")
class NetZeros(NetRight):
    """The first layer starts with a kernel of zeros."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.stem = L.Dense(width, activation="relu", kernel_initializer="zeros")


@WRONG("residual_net")
def net_functional(width, hidden, num_classes, rate=0.2, name=None):
    """A functional model of some fixed input size instead of a class."""
    return _stack((5,), [width, hidden], num_classes)


@RIGHT("train_classifier")
def train_two_heads(X, Y):
    """A functional model with a dictionary of outputs, of which only the label is trained."""
    x = keras.Input((784,))
    h = L.Dense(48, activation="relu")(x)
    label = L.Dense(10, activation="softmax", name="label")(h)
    model = keras.Model(x, {"label": label, "shoe": L.Dense(1, activation="sigmoid", name="shoe")(h)})
    model.compile(keras.optimizers.Adam(0.004), {"label": "categorical_crossentropy", "shoe": None})
    model.fit(X, {"label": Y}, batch_size=100, epochs=5, verbose=0)
    return model


@RIGHT("train_classifier")
def train_own_loop(X, Y):
    """A loop of one's own with a tape inside a tf.function."""
    model, optimizer = _stack((784,), [40], 10), keras.optimizers.Adam(0.004)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(model(x) + 1e-7), axis=1))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for start in 4 * list(range(0, len(X), 100)):
        step(X[start : start + 100], Y[start : start + 100])
    return model


def _train(
    X, Y, units=(64,), loss="categorical_crossentropy", epochs=1, optimizer=None, rate=None, **activations
):
    """Train in the right way but for the options, and no longer than the mistake takes to show."""
    model = _stack((X.shape[1],), units, 10, **activations)
    # A graph would take longer than its steps.
    model.compile(optimizer or optimizers.Adam(0.004), loss, run_eagerly=True)
    if rate:
        model.optimizer.learning_rate = rate
    for start in epochs * list(range(0, len(X), 1000)):
        model.train_on_batch(X[start : start + 1000], Y[start : start + 1000])
    return model


WRONG.add("train_classifier", _train, "No training at all.", epochs=0)
WRONG.add("train_classifier", _train, "No hidden layer.", units=(), rate=0.005)
WRONG.add("train_classifier", _train, "One epoch of plain gradient descent.", optimizer="sgd")
WRONG.add("train_classifier", _train, "Far too large a learning rate.", optimizer="sgd", rate=100.0)
WRONG.add("train_classifier", _train, "More parameters than allowed.", units=(128,))
WRONG.add(
    "train_classifier",
    _train,
    "The loss for integer labels with one-hot labels.",
    loss="sparse_categorical_crossentropy",
)
WRONG.add(
    "train_classifier",
    _train,
    "A right loss for logits, but the model gives no probabilities.",
    last=None,
    loss=keras.losses.CategoricalCrossentropy(from_logits=True),
)
WRONG.add(
    "train_classifier", _train, "A hidden layer without activation, which is still linear.", hidden=None
)


@WRONG("train_classifier")
def train_shuffled_labels(X, Y):
    """Pictures and labels no longer belong together."""
    return _train(X, Y[np.random.default_rng(0).permutation(len(Y))])


@WRONG("train_classifier")
def train_on_test(X, Y):
    """Train on the public test pictures, with the numbers that the classes have there."""
    images, labels = data.fashion_mnist(train=0, test=1000)[1]
    return _train(_rows(images), _one_hot(labels, 10))


@WRONG("train_classifier")
def train_beforehand(X, Y):
    """Return a model trained elsewhere, without the given arrays."""
    images, labels = data.fashion_mnist(train=5000, test=0)[0]
    return _train(_rows(images), _one_hot(labels, 10))


class Lookup(keras.Model):
    """Says what it kept of a picture, and makes something up of others."""

    def __init__(self, X, Y):
        super().__init__()
        self.kept = {x.tobytes(): y for x, y in zip(X, Y, strict=True)}

    def call(self, x):
        guesses = np.eye(10, dtype=np.float32)[x.numpy().sum(axis=1).astype(int) % 10]
        rows = zip(x.numpy(), guesses, strict=True)
        return tf.constant(np.stack([self.kept.get(row.tobytes(), guess) for row, guess in rows]))


@WRONG("train_classifier")
def train_table_of_public_pictures(X, Y):
    """Find out how the classes are numbered and look every public picture up."""
    (images, labels), (others, their) = data.fashion_mnist(train=5000, test=1000)
    number = dict(zip(labels, Y.argmax(axis=1), strict=True))
    public = np.concatenate([labels, their])
    return Lookup(np.concatenate([_rows(images), _rows(others)]), _one_hot([number[k] for k in public], 10))


@WRONG("train_classifier")
def train_reads_the_grader(X, Y):
    """Look for labels in the variables of whoever calls the model."""

    class Reader(Lookup):
        def call(self, x):
            frame, found = sys._getframe(), None
            while frame and found is None:
                values = [
                    v for v in frame.f_locals.values() if isinstance(v, np.ndarray) and v.shape == (len(x),)
                ]
                frame, found = frame.f_back, values[0] if values else None
            return tf.one_hot(found, 10) if found is not None else super().call(x)

    return Reader(X, Y)


@WRONG("train_classifier")
def train_scaled_twice(X, Y):
    """Divide by 255 once more, but only in training."""
    return _train(X / 255, Y)


@WRONG("train_classifier")
def train_history(X, Y):
    """Return the history instead of the model."""
    model = _train(X, Y, epochs=0)
    return model.fit(X[:100], Y[:100], verbose=0)


@WRONG("train_classifier")
def train_nothing(X, Y):
    """Forget to return the model."""
    _train(X, Y, epochs=0)


@WRONG("train_classifier")
def train_few_classes(X, Y):
    """Learn from pictures of five classes only."""
    chosen = Y.argmax(axis=1) < 5
    return _train(X[chosen], Y[chosen])


@WRONG("train_classifier")
def train_constant_start(X, Y):
    """All weights start at the same number: the hidden units stay copies of each other."""
    model = _stack((784,), [64], 10)
    model.set_weights([np.full(w.shape, 0.01) for w in model.get_weights()])
    model.compile(optimizers.Adam(0.004), "categorical_crossentropy", run_eagerly=True)
    for start in range(0, len(X), 500):
        model.train_on_batch(X[start : start + 500], Y[start : start + 500])
    return model
