"""Wrong answers to practice 2.1; every one of them must be marked ❌."""

import keras
import numpy as np
import tensorflow as tf

from tf_study import data

L = keras.layers


def _one_hot(labels, num_classes):
    return keras.utils.to_categorical(labels, num_classes).astype("float32")


def _rows(images):
    return images.reshape(len(images), -1).astype("float32") / 255


def preprocess_not_scaled(images, labels, num_classes):
    """Forget to divide by 255."""
    return _rows(images) * 255, _one_hot(labels, num_classes)


def preprocess_integer_division(images, labels, num_classes):
    """Integer division: almost everything is 0."""
    X = (images // 255).reshape(len(images), -1).astype("float32")
    return X, _one_hot(labels, num_classes)


def preprocess_batch_maximum(images, labels, num_classes):
    """Divide by the largest pixel of the batch."""
    X = images.reshape(len(images), -1) / max(images.max(), 1)
    return X.astype("float32"), _one_hot(labels, num_classes)


def preprocess_by_256(images, labels, num_classes):
    """Divide by 256."""
    return _rows(images) * np.float32(255 / 256), _one_hot(labels, num_classes)


def preprocess_columns_first(images, labels, num_classes):
    """Flatten column by column."""
    return _rows(images.transpose(0, 2, 1)), _one_hot(labels, num_classes)


def preprocess_float64(images, labels, num_classes):
    """Leave the pixels in float64."""
    return images.reshape(len(images), -1) / 255, _one_hot(labels, num_classes)


def preprocess_not_flat(images, labels, num_classes):
    """Keep the picture's two axes."""
    return images.astype("float32") / 255, _one_hot(labels, num_classes)


def preprocess_square_only(images, labels, num_classes):
    """Right only for square pictures."""
    return (images.astype("float32") / 255).reshape(-1, images.shape[1] ** 2), _one_hot(labels, num_classes)


def preprocess_integer_labels(images, labels, num_classes):
    """Return the labels as they are."""
    return _rows(images), labels


def preprocess_classes_from_labels(images, labels, num_classes):
    """Take the number of classes from the largest label."""
    return _rows(images), _one_hot(labels, int(labels.max()) + 1)


def preprocess_integer_one_hot(images, labels, num_classes):
    """One-hot of integers instead of float32."""
    return _rows(images), np.eye(num_classes, dtype=int)[labels]


def preprocess_standardised(images, labels, num_classes):
    """Standardise instead of scaling to 0..1."""
    X = _rows(images)
    return (X - X.mean()) / (X.std() + 1e-7), _one_hot(labels, num_classes)


def preprocess_only_inputs(images, labels, num_classes):
    """Return the pixels alone."""
    return _rows(images)


def preprocess_in_place(images, labels, num_classes):
    """Right result, but the given labels are overwritten."""
    result = _rows(images), _one_hot(labels, num_classes)
    labels[:] = 0
    return result


def preprocess_example(images, labels, num_classes):
    """Hard-coded for the example."""
    return np.array([[0, 0.2, 0.4, 1]], "float32"), np.array([[0, 0, 1]], "float32")


def _dense_count(sizes):
    return sum(a * b + b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


def count_no_bias(sizes, batch_norm):
    """Forget the biases."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return _dense_count(sizes) - sum(sizes[1:]) + norm, norm


def count_input_bias(sizes, batch_norm):
    """Add a bias per input instead of per output."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return sum(a * b + a for a, b in zip(sizes[:-1], sizes[1:], strict=True)) + norm, norm


def count_norm_on_output(sizes, batch_norm):
    """Batch normalisation after the output layer too."""
    norm = 2 * sum(sizes[1:]) * batch_norm
    return _dense_count(sizes) + norm, norm


def count_all_trainable(sizes, batch_norm):
    """Count all four numbers of batch normalisation as trainable."""
    return _dense_count(sizes) + 4 * sum(sizes[1:-1]) * batch_norm, 0


def count_norm_ignored(sizes, batch_norm):
    """Ignore batch normalisation."""
    return _dense_count(sizes), 0


def count_norm_always(sizes, batch_norm):
    """Ignore the flag."""
    norm = 2 * sum(sizes[1:-1])
    return _dense_count(sizes) + norm, norm


def count_norm_halved(sizes, batch_norm):
    """One number per unit instead of two."""
    norm = sum(sizes[1:-1]) * batch_norm
    return _dense_count(sizes) + norm, norm


def count_two_layers(sizes, batch_norm):
    """Right only for one hidden layer."""
    a, b, c = sizes[0], sizes[1], sizes[-1]
    norm = 2 * b * batch_norm
    return a * b + b + b * c + c + norm, norm


def count_swapped(sizes, batch_norm):
    """The two numbers in the wrong order."""
    norm = 2 * sum(sizes[1:-1]) * batch_norm
    return norm, _dense_count(sizes) + norm


def count_total(sizes, batch_norm):
    """Return one total."""
    return _dense_count(sizes) + 4 * sum(sizes[1:-1]) * batch_norm


def count_example(sizes, batch_norm):
    """Hard-coded for the example."""
    return (29, 6) if batch_norm else (23, 0)


def _stack(input_shape, units, num_classes, hidden="relu", last="softmax", extra=()):
    layers = [L.Dense(n, activation=hidden) for n in units]
    output = L.Dense(num_classes, activation=last)
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, *extra, output])


def sequential_logits(input_shape, units, num_classes):
    """No softmax."""
    return _stack(input_shape, units, num_classes, last=None)


def sequential_sigmoid(input_shape, units, num_classes):
    """Sigmoid instead of softmax."""
    return _stack(input_shape, units, num_classes, last="sigmoid")


def sequential_linear(input_shape, units, num_classes):
    """Hidden layers without activation."""
    return _stack(input_shape, units, num_classes, hidden=None)


def sequential_tanh(input_shape, units, num_classes):
    """tanh instead of ReLU."""
    return _stack(input_shape, units, num_classes, hidden="tanh")


def sequential_dropout(input_shape, units, num_classes):
    """A dropout layer that nobody asked for."""
    return _stack(input_shape, units, num_classes, extra=[L.Dropout(0.5)])


def sequential_not_built(input_shape, units, num_classes):
    """No Input: no weights before the first data."""
    layers = [L.Dense(n, activation="relu") for n in units]
    return keras.Sequential([L.Flatten(), *layers, L.Dense(num_classes, activation="softmax")])


def sequential_first_units(input_shape, units, num_classes):
    """Only the first hidden layer."""
    return _stack(input_shape, units[:1], num_classes)


def sequential_reversed(input_shape, units, num_classes):
    """Hidden layers in the opposite order."""
    return _stack(input_shape, [*units[::-1], 3], num_classes)


def sequential_ten_classes(input_shape, units, num_classes):
    """Ten classes whatever is asked."""
    return _stack(input_shape, units, 10)


def sequential_not_flat(input_shape, units, num_classes):
    """No Flatten: Dense works on the last axis."""
    layers = [L.Dense(n, activation="relu") for n in units]
    return keras.Sequential([keras.Input(input_shape), *layers, L.Dense(num_classes, activation="softmax")])


def sequential_rescaling(input_shape, units, num_classes):
    """Divide by 255 once more inside the model."""
    model = _stack(input_shape, units, num_classes)
    return keras.Sequential([keras.Input(input_shape), L.Rescaling(1 / 255), *model.layers])


def sequential_functional(input_shape, units, num_classes):
    """The same computation with the functional API."""
    x = keras.Input(input_shape)
    return keras.Model(x, _stack(input_shape, units, num_classes)(x))


def sequential_extra_relu(input_shape, units, num_classes):
    """ReLU in front of the softmax."""
    layers = [L.Dense(n, activation="relu") for n in (*units, num_classes)]
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, L.Softmax()])


def sequential_no_bias(input_shape, units, num_classes):
    """No biases."""
    layers = [L.Dense(n, activation="relu", use_bias=False) for n in units]
    output = L.Dense(num_classes, activation="softmax", use_bias=False)
    return keras.Sequential([keras.Input(input_shape), L.Flatten(), *layers, output])


_CACHE = {}


def sequential_cached(input_shape, units, num_classes):
    """Give the same model for the same arguments."""
    key = input_shape, tuple(units), num_classes
    return _CACHE.setdefault(key, _stack(*key))


def sequential_nothing(input_shape, units, num_classes):
    """Forget to return the model."""
    _stack(input_shape, units, num_classes)


def _functional(n_in, width, hidden, num_classes, merge=None, inner="relu", outer=None, shoe="sigmoid"):
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu", name="stem")(x)
    f = L.Dense(hidden, activation=inner, name="inner")(h)
    f = L.Dense(width, activation=outer, name="outer")(f)
    r = (merge or (lambda h, f: L.Add()([h, f])))(h, f)
    label = L.Dense(num_classes, activation="softmax", name="label")(r)
    return x, r, label, L.Dense(1, activation=shoe, name="shoe")(r)


def _model(*args, **kwargs):
    x, _, label, shoe = _functional(*args, **kwargs)
    return keras.Model(x, {"label": label, "shoe": shoe})


def functional_no_residual(n_in, width, hidden, num_classes):
    """Overwrite h: nothing is added."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: f)


def functional_input_added(n_in, width, hidden, num_classes):
    """Add the input instead of the stem where the shapes allow it."""
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu", name="stem")(x)
    f = L.Dense(hidden, activation="relu", name="inner")(h)
    f = L.Dense(width, name="outer")(f)
    r = L.Add()([x if n_in == width else h, f])
    label = L.Dense(num_classes, activation="softmax", name="label")(r)
    return keras.Model(x, {"label": label, "shoe": L.Dense(1, activation="sigmoid", name="shoe")(r)})


def functional_doubled(n_in, width, hidden, num_classes):
    """Add the branch to itself."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: L.Add()([f, f]))


def functional_multiplied(n_in, width, hidden, num_classes):
    """Multiply instead of adding."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: L.Multiply()([h, f]))


def functional_averaged(n_in, width, hidden, num_classes):
    """Average instead of adding."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: L.Average()([h, f]))


def functional_concatenated(n_in, width, hidden, num_classes):
    """Concatenate instead of adding."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: L.Concatenate()([h, f]))


def functional_relu_after(n_in, width, hidden, num_classes):
    """ReLU after the sum."""
    return _model(n_in, width, hidden, num_classes, merge=lambda h, f: L.ReLU()(L.Add()([h, f])))


def functional_relu_outer(n_in, width, hidden, num_classes):
    """ReLU on the branch before the sum."""
    return _model(n_in, width, hidden, num_classes, outer="relu")


def functional_linear_inner(n_in, width, hidden, num_classes):
    """No ReLU inside the branch."""
    return _model(n_in, width, hidden, num_classes, inner=None)


def functional_shoe_logit(n_in, width, hidden, num_classes):
    """No sigmoid on the second output."""
    return _model(n_in, width, hidden, num_classes, shoe=None)


def functional_shoe_softmax(n_in, width, hidden, num_classes):
    """Softmax over one unit: always 1."""
    return _model(n_in, width, hidden, num_classes, shoe="softmax")


def functional_list(n_in, width, hidden, num_classes):
    """Outputs in a list instead of a dictionary."""
    x, _, label, shoe = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, [label, shoe])


def functional_one_output(n_in, width, hidden, num_classes):
    """Only the first output."""
    x, _, label, _ = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": label})


def functional_swapped(n_in, width, hidden, num_classes):
    """The two outputs under each other's name."""
    x, _, label, shoe = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": shoe, "shoe": label})


def functional_shoe_on_label(n_in, width, hidden, num_classes):
    """The second head reads the first one's probabilities."""
    x, _, label, _ = _functional(n_in, width, hidden, num_classes)
    return keras.Model(x, {"label": label, "shoe": L.Dense(1, activation="sigmoid", name="shoe")(label)})


def functional_unnamed(n_in, width, hidden, num_classes):
    """Layers without the names."""
    x = keras.Input((n_in,))
    h = L.Dense(width, activation="relu")(x)
    r = L.Add()([h, L.Dense(width)(L.Dense(hidden, activation="relu")(h))])
    label, shoe = L.Dense(num_classes, activation="softmax")(r), L.Dense(1, activation="sigmoid")(r)
    return keras.Model(x, {"label": label, "shoe": shoe})


def functional_nothing(n_in, width, hidden, num_classes):
    """Forget to return the model."""
    _model(n_in, width, hidden, num_classes)


class BlockRight(L.Layer):
    """The right layer, from which the wrong ones differ in one method; not itself a wrong answer."""

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


class BlockDense(BlockRight):
    """Two Dense layers inside instead of weights of its own."""

    def build(self, input_shape):
        self.inner, self.outer = L.Dense(self.hidden, activation="relu"), L.Dense(input_shape[-1])
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.hidden))

    def branch(self, x):
        return self.outer(self.inner(x))


class BlockNoSkip(BlockRight):
    """The input is not added."""

    def call(self, x):
        return self.scale * self.branch(x)


class BlockNoScale(BlockRight):
    """The scale is forgotten."""

    def call(self, x):
        return x + self.branch(x)


class BlockScaledSum(BlockRight):
    """The scale multiplies the input too."""

    def call(self, x):
        return self.scale * (x + self.branch(x))


class BlockLinear(BlockRight):
    """No ReLU."""

    def call(self, x):
        return x + self.scale * ((x @ self.W1 + self.b1) @ self.W2 + self.b2)


class BlockReluLast(BlockRight):
    """ReLU on the result."""

    def call(self, x):
        return tf.nn.relu(x + self.scale * self.branch(x))


class BlockBiasOutside(BlockRight):
    """The second bias is not scaled."""

    def call(self, x):
        return x + self.scale * (tf.nn.relu(x @ self.W1 + self.b1) @ self.W2) + self.b2


class BlockNoFirstBias(BlockRight):
    """The first bias is never used."""

    def call(self, x):
        return x + self.scale * (tf.nn.relu(x @ self.W1) @ self.W2 + self.b2)


class BlockMinus(BlockRight):
    """The branch with the opposite sign."""

    def call(self, x):
        return x - self.scale * self.branch(x)


class BlockConfigForgets(BlockRight):
    """get_config without the scale."""

    def get_config(self):
        return {**L.Layer.get_config(self), "hidden": self.hidden}


class BlockConfigDefault(BlockRight):
    """get_config with the default instead of the real scale."""

    def get_config(self):
        return {**super().get_config(), "scale": 1.0}


class BlockConfigNoName(BlockRight):
    """get_config without the parent's entries."""

    def get_config(self):
        return {"hidden": self.hidden, "scale": self.scale}


class BlockNoName(BlockRight):
    """The keyword arguments are not handed to the parent."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        L.Layer.__init__(self)
        self.hidden, self.scale = hidden, scale


class BlockScaleHalf(BlockRight):
    """Another default of the scale."""

    def __init__(self, hidden, scale=0.5, **kwargs):
        super().__init__(hidden, scale, **kwargs)


class BlockOrder(BlockRight):
    """Weights in another order."""

    def build(self, input_shape):
        n, m = input_shape[-1], self.hidden
        self.W1 = self.add_weight(shape=(n, m), initializer="glorot_uniform", name="W1")
        self.W2 = self.add_weight(shape=(m, n), initializer="glorot_uniform", name="W2")
        self.b1 = self.add_weight(shape=(m,), initializer="zeros", name="b1")
        self.b2 = self.add_weight(shape=(n,), initializer="zeros", name="b2")


class BlockBiasOnes(BlockRight):
    """Biases that start at 1."""

    def build(self, input_shape):
        super().build(input_shape)
        self.b1.assign(tf.ones_like(self.b1))


class BlockZeros(BlockRight):
    """Every weight starts at 0: nothing is ever learned."""

    def build(self, input_shape):
        super().build(input_shape)
        for w in self.weights:
            w.assign(tf.zeros_like(w))


class BlockBatchAxis(BlockRight):
    """Size taken from axis 1: right only for two axes."""

    def build(self, input_shape):
        super().build(input_shape[:2])


class BlockFrozen(BlockRight):
    """Biases that are not trainable."""

    def build(self, input_shape):
        super().build(input_shape)
        self.b1.trainable = False


class BlockFlat(BlockRight):
    """The weights are made in the constructor for one size."""

    def __init__(self, hidden, scale=1.0, **kwargs):
        super().__init__(hidden, scale, **kwargs)
        super().build((None, 4))

    def build(self, input_shape):
        pass


class BlockNumpy(BlockRight):
    """Computed with NumPy: fails inside tf.function."""

    def call(self, x):
        return x + self.scale * tf.constant(self.branch(x).numpy())


class BlockLoose(BlockRight):
    """Plain tensors instead of weights: nothing to train."""

    def build(self, input_shape):
        n, m = input_shape[-1], self.hidden
        self.W1, self.b1 = tf.random.normal((n, m)), tf.zeros(m)
        self.W2, self.b2 = tf.random.normal((m, n)), tf.zeros(n)


class NetRight(keras.Model):
    """The right model, from which the wrong ones differ in one method; not itself a wrong answer."""

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


class NetNoTraining(NetRight):
    """Dropout is told that this is never training."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=False))


class NetAlwaysTraining(NetRight):
    """Dropout is always on."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=True))


class NetSkipsDropout(NetRight):
    """The dropout layer is never called."""

    def call(self, x, training=False):
        return self.head(self.residual(self.stem(x)))


class NetDropoutEarly(NetRight):
    """Dropout in front of the residual layer."""

    def call(self, x, training=False):
        return self.head(self.residual(self.dropout(self.stem(x), training=training)))


class NetDropoutTwice(NetRight):
    """Dropout twice."""

    def call(self, x, training=False):
        r = self.dropout(self.residual(self.stem(x)), training=training)
        return self.head(self.dropout(r, training=training))


class NetDropoutLast(NetRight):
    """Dropout on the probabilities."""

    def call(self, x, training=False):
        return self.dropout(self.head(self.residual(self.stem(x))), training=training)


class NetKeepRate(NetRight):
    """Take the rate for the share that is kept."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.dropout = L.Dropout(1 - rate)


class NetFixedRate(NetRight):
    """The rate is always 0.5."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.dropout = L.Dropout(0.5)


class NetNoResidual(NetRight):
    """The residual layer is never called."""

    def call(self, x, training=False):
        return self.head(self.dropout(self.stem(x), training=training))


class NetLogits(NetRight):
    """No softmax."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.head = L.Dense(num_classes)


class NetLinearStem(NetRight):
    """No ReLU in the first layer."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.stem = L.Dense(width)


class NetHiddenIsWidth(NetRight):
    """The residual layer gets the width instead of the hidden size."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.residual = BlockRight(width)


class NetHalfScale(NetRight):
    """Another scale of the residual layer."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.residual = BlockRight(hidden, 0.5)


class NetConfigForgets(NetRight):
    """get_config without the rate."""

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "rate"}


class NetConfigDefault(NetRight):
    """get_config with the default rate."""

    def get_config(self):
        return {**super().get_config(), "rate": 0.2}


class NetNoConfig(keras.Model):
    """No get_config: Keras writes down the defaults."""

    def __init__(self, width=4, hidden=3, num_classes=2, rate=0.2, **kwargs):
        super().__init__(**kwargs)
        self.stem, self.residual = L.Dense(width, activation="relu"), BlockRight(hidden)
        self.dropout, self.head = L.Dropout(rate), L.Dense(num_classes, activation="softmax")

    def call(self, x, training=False):
        return self.head(self.dropout(self.residual(self.stem(x)), training=training))


class NetNoKeywords(NetRight):
    """The name is not handed to the parent."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate)


class NetOtherNames(NetRight):
    """The output layer under another name."""

    def __init__(self, width, hidden, num_classes, rate=0.2, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)
        self.out, self.head = self.head, None

    def call(self, x, training=False):
        return self.out(self.dropout(self.residual(self.stem(x)), training=training))


class NetDefaultRate(NetRight):
    """Another default rate."""

    def __init__(self, width, hidden, num_classes, rate=0.5, **kwargs):
        super().__init__(width, hidden, num_classes, rate, **kwargs)


def net_functional(width, hidden, num_classes, rate=0.2, name=None):
    """A functional model of some fixed input size instead of a class."""
    return _stack((5,), [width, hidden], num_classes)


def _train(X, Y, units=(64,), last="softmax", loss="categorical_crossentropy", epochs=8, optimizer="adam"):
    model = _stack((X.shape[1],), units, 10, last=last)
    model.compile(optimizer=optimizer, loss=loss)
    model.fit(X, Y, batch_size=100, epochs=epochs, verbose=0)
    return model


def train_untrained(X, Y):
    """No training at all."""
    return _train(X, Y, epochs=0)


def train_linear(X, Y):
    """No hidden layer."""
    return _train(X, Y, units=(), epochs=15, optimizer=keras.optimizers.Adam(0.005))


def train_linear_hidden(X, Y):
    """A hidden layer without activation: still linear."""
    hidden, output = L.Dense(64), L.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input((784,)), hidden, output])
    model.compile("adam", "categorical_crossentropy")
    model.fit(X, Y, batch_size=100, epochs=8, verbose=0)
    return model


def train_one_epoch(X, Y):
    """One epoch of plain gradient descent with a small rate."""
    return _train(X, Y, epochs=1, optimizer="sgd")


def train_shuffled_labels(X, Y):
    """Pictures and labels no longer belong together."""
    return _train(X, Y[np.random.default_rng(0).permutation(len(Y))], epochs=3)


def train_sparse_loss(X, Y):
    """The loss for integer labels with one-hot labels."""
    return _train(X, Y, loss="sparse_categorical_crossentropy", epochs=1)


def train_diverges(X, Y):
    """A far too large learning rate."""
    return _train(X, Y, epochs=3, optimizer=keras.optimizers.SGD(100.0))


def train_on_test(X, Y):
    """Train on the test pictures, with the numbers that the classes have there."""
    images, labels = data.fashion_mnist(train=5000, test=1000)[1]
    return _train(_rows(images), _one_hot(labels, 10))


def train_beforehand(X, Y):
    """Return a model trained elsewhere, without the given arrays."""
    images, labels = data.fashion_mnist(train=5000, test=1000)[0]
    return _train(_rows(images), _one_hot(labels, 10))


def train_scaled_twice(X, Y):
    """Divide by 255 once more, but only in training."""
    return _train(X / 255, Y, epochs=3)


def train_too_large(X, Y):
    """More parameters than allowed."""
    return _train(X, Y, units=(128,), epochs=1)


def train_logits(X, Y):
    """A right loss for logits, but the model gives no probabilities."""
    return _train(X, Y, last=None, loss=keras.losses.CategoricalCrossentropy(from_logits=True), epochs=3)


def train_history(X, Y):
    """Return the history instead of the model."""
    model = _train(X, Y, epochs=0)
    return model.fit(X[:100], Y[:100], verbose=0)


def train_nothing(X, Y):
    """Forget to return the model."""
    _train(X, Y, epochs=0)


def train_few_classes(X, Y):
    """Learn from pictures of five classes only."""
    chosen = Y.argmax(axis=1) < 5
    return _train(X[chosen], Y[chosen])


def train_constant_start(X, Y):
    """All weights start at the same number: the hidden units stay copies of each other."""
    model = _stack((784,), [64], 10)
    model.set_weights([np.full(w.shape, 0.01) for w in model.get_weights()])
    model.compile("adam", "categorical_crossentropy")
    model.fit(X, Y, batch_size=100, epochs=5, verbose=0)
    return model


WRONG = {
    "preprocess": [
        preprocess_not_scaled,
        preprocess_integer_division,
        preprocess_batch_maximum,
        preprocess_by_256,
        preprocess_columns_first,
        preprocess_float64,
        preprocess_not_flat,
        preprocess_square_only,
        preprocess_integer_labels,
        preprocess_classes_from_labels,
        preprocess_integer_one_hot,
        preprocess_standardised,
        preprocess_only_inputs,
        preprocess_in_place,
        preprocess_example,
    ],
    "count_parameters": [
        count_no_bias,
        count_input_bias,
        count_norm_on_output,
        count_all_trainable,
        count_norm_ignored,
        count_norm_always,
        count_norm_halved,
        count_two_layers,
        count_swapped,
        count_total,
        count_example,
    ],
    "build_sequential": [
        sequential_logits,
        sequential_sigmoid,
        sequential_linear,
        sequential_tanh,
        sequential_dropout,
        sequential_not_built,
        sequential_first_units,
        sequential_reversed,
        sequential_ten_classes,
        sequential_not_flat,
        sequential_rescaling,
        sequential_functional,
        sequential_extra_relu,
        sequential_no_bias,
        sequential_cached,
        sequential_nothing,
    ],
    "build_functional": [
        functional_no_residual,
        functional_input_added,
        functional_doubled,
        functional_multiplied,
        functional_averaged,
        functional_concatenated,
        functional_relu_after,
        functional_relu_outer,
        functional_linear_inner,
        functional_shoe_logit,
        functional_shoe_softmax,
        functional_list,
        functional_one_output,
        functional_swapped,
        functional_shoe_on_label,
        functional_unnamed,
        functional_nothing,
    ],
    "residual_layer": [
        BlockDense,
        BlockNoSkip,
        BlockNoScale,
        BlockScaledSum,
        BlockLinear,
        BlockReluLast,
        BlockBiasOutside,
        BlockNoFirstBias,
        BlockMinus,
        BlockConfigForgets,
        BlockConfigDefault,
        BlockConfigNoName,
        BlockNoName,
        BlockScaleHalf,
        BlockOrder,
        BlockBiasOnes,
        BlockZeros,
        BlockBatchAxis,
        BlockFrozen,
        BlockFlat,
        BlockNumpy,
        BlockLoose,
    ],
    "residual_net": [
        NetNoTraining,
        NetAlwaysTraining,
        NetSkipsDropout,
        NetDropoutEarly,
        NetDropoutTwice,
        NetDropoutLast,
        NetKeepRate,
        NetFixedRate,
        NetNoResidual,
        NetLogits,
        NetLinearStem,
        NetHiddenIsWidth,
        NetHalfScale,
        NetConfigForgets,
        NetConfigDefault,
        NetNoConfig,
        NetNoKeywords,
        NetOtherNames,
        NetDefaultRate,
        net_functional,
    ],
    "train_classifier": [
        train_untrained,
        train_linear,
        train_linear_hidden,
        train_one_epoch,
        train_shuffled_labels,
        train_sparse_loss,
        train_diverges,
        train_on_test,
        train_beforehand,
        train_scaled_twice,
        train_too_large,
        train_logits,
        train_history,
        train_nothing,
        train_few_classes,
        train_constant_start,
    ],
}
