"""Right and wrong answers to practice 5.1."""

import functools
from collections import Counter

import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import data, optimizers
from tf_study.data import unseen

RIGHT, WRONG = Answers(), Answers()

keras = tf.keras
layers = keras.layers


def _standardize(x, reference, axis=(0, 1, 2), divide=np.std, dtype="float32", scale=1, mean_type=float):
    mean = reference.mean(axis).astype(mean_type)
    return ((x / scale - mean if scale > 1 else x - mean) / np.maximum(divide(reference, axis), 1e-9)).astype(
        dtype
    )


WRONG.add("standardize", _standardize, "Use one mean and deviation for all channels.", axis=None)
WRONG.add("standardize", _standardize, "Keep the places apart, right for one pixel.", axis=0)
WRONG.add("standardize", _standardize, "Divide by the variance.", divide=np.var)
WRONG.add(
    "standardize",
    _standardize,
    "Divide by the deviation with N - 1.",
    divide=functools.partial(np.std, ddof=1),
)
WRONG.add("standardize", _standardize, "Return float64.", dtype=float)
WRONG.add("standardize", _standardize, "Scale the pictures by 255 but not the reference.", scale=255)
WRONG.add("standardize", _standardize, "Subtract in uint8, where it wraps around.", mean_type="uint8")


@WRONG("standardize")
def standardize_own(x, reference):
    """Use the statistics of the pictures themselves."""
    return _standardize(x, x)


@WRONG("standardize")
def standardize_255(x, reference):
    """Only divide by 255."""
    return (x / 255).astype("float32")


@WRONG("standardize")
def standardize_few(x, reference):
    """Take the statistics of the first 64 pictures only."""
    return standardize_by_channel(x, reference[:64])


@WRONG("standardize")
def standardize_cached(x, reference, seen={}):  # noqa: B006
    """Keep the statistics of the first reference of each shape."""
    return standardize_by_channel(x, seen.setdefault(reference.shape, reference.copy()))


@RIGHT("standardize")
def standardize_by_channel(x, reference):
    """One channel after the other."""
    out = np.empty(x.shape, "float32")
    for c in range(x.shape[-1]):
        values = reference[..., c].astype("float64").ravel()
        out[..., c] = (x[..., c] - values.mean()) / np.sqrt(np.mean((values - values.mean()) ** 2))
    return out


@RIGHT("standardize")
@tf.function
def standardize_moments(x, reference):
    """TensorFlow's moments inside a tf.function."""
    mean, variance = tf.nn.moments(tf.cast(reference, tf.float64), (0, 1, 2))
    return tf.cast((tf.cast(x, tf.float64) - mean) / tf.sqrt(variance), tf.float32)


@RIGHT("standardize")
def standardize_layer(x, reference):
    """Keras' layer for it."""
    layer = layers.Normalization()
    layer.adapt(reference.astype("float32"))
    return layer(x.astype("float32"))


def _cost(plan, shape, mistake=""):
    """Count with one mistake."""
    (H, W, C), parameters, macs = shape, 0, 0
    for kind, *options in plan:
        if kind == "conv":
            filters, K, S, bias = options
            before = H * W
            if mistake == "floor":
                H, W = H // S, W // S
            elif mistake == "valid":
                H, W = (H - K) // S + 1, (W - K) // S + 1
            elif mistake != "stride":
                H, W = -(-H // S), -(-W // S)
            weights = K * C * filters if mistake == "K" else K * K * C * filters
            bias = {"always bias": 1, "no bias": 0, "bias in": bias}.get(mistake, bias)
            parameters += weights + (C if mistake == "bias in" else filters) * bool(bias)
            macs += weights * (before if mistake == "input area" else H * W)
            macs += filters * H * W * bool(bias) * (mistake == "bias macs")
            C = filters if mistake != "channels" else C
        elif kind == "bn":
            parameters += (2 if mistake == "bn 2" else 4) * C
        elif kind == "pool":
            P = options[0]
            H, W = (-(-H // P), -(-W // P)) if mistake == "pool ceil" else (H // P, W // P)
            H, W = (H * P, W * P) if mistake == "pool ignored" else (H, W)
        elif kind == "dense":
            inside = C * H * W if mistake == "flatten" else C
            parameters += (inside + (mistake != "dense bias")) * options[0]
            macs += 0 if mistake == "dense macs" else inside * options[0]
            C, H, W = options[0], 1, 1
    return parameters, (2 * macs if mistake == "flops" else macs)


for _mistake, _what in {
    "floor": "Round the size down.",
    "valid": "Count without padding.",
    "stride": "Ignore the stride.",
    "K": "Multiply by K once.",
    "always bias": "Count a bias for every convolution.",
    "no bias": "Count no bias.",
    "bias in": "Count one bias per input channel.",
    "input area": "Multiply by the input's area.",
    "bias macs": "Count the bias among the multiplications.",
    "channels": "Never change the channels.",
    "bn 2": "Count the trained parameters of the normalisation only.",
    "pool ceil": "Round the pooled size up.",
    "pool ignored": "Pool without shrinking.",
    "flatten": "Flatten instead of averaging.",
    "dense bias": "Forget the bias of the dense layer.",
    "dense macs": "Count no multiplications in the dense layer.",
    "flops": "Count multiplications and additions apart.",
}.items():
    WRONG.add("count_cost", _cost, _what, mistake=_mistake)


@WRONG("count_cost")
def cost_example(plan, shape):
    """Return the numbers of the example."""
    return 5466, 737600


@WRONG("count_cost")
def cost_float(plan, shape):
    """Return floats."""
    return tuple(map(float, _cost(plan, shape)))


@WRONG("count_cost")
def cost_swapped(plan, shape):
    """Return the two numbers in the other order."""
    return _cost(plan, shape)[::-1]


@WRONG("count_cost")
def cost_empties(plan, shape):
    """Empty the given plan."""
    found = _cost(plan, shape)
    plan.clear()
    return found


@WRONG("count_cost")
def cost_overflows(plan, shape):
    """Count in 32 bits."""
    parameters, macs = _cost(plan, shape)
    return parameters, int(np.array(macs).astype("int32"))


@RIGHT("count_cost")
def cost_from_keras(plan, shape):
    """Let Keras build the model and ask its layers."""
    make = {
        "conv": lambda f, k, s, bias: layers.Conv2D(f, k, s, "same", use_bias=bias),
        "bn": layers.BatchNormalization,
        "relu": layers.ReLU,
        "pool": layers.MaxPooling2D,
        "gap": layers.GlobalAveragePooling2D,
        "dense": layers.Dense,
    }
    model = keras.Sequential([keras.Input(shape), *(make[kind](*options) for kind, *options in plan)])
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    macs = sum(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1]) for layer in kernels)
    return np.int64(model.count_params()), np.int64(macs)


@RIGHT("count_cost")
def cost_recursive(plan, shape):
    """The first layer's cost and that of the rest."""
    if not plan:
        return 0, 0
    (kind, *o), (H, W, C) = plan[0], shape
    if kind == "conv":
        H, W = (H + o[2] - 1) // o[2], (W + o[2] - 1) // o[2]
        own, shape = (o[1] ** 2 * C * o[0] + o[3] * o[0], o[1] ** 2 * C * o[0] * H * W), (H, W, o[0])
    elif kind == "dense":
        own, shape = (C * o[0] + o[0], C * o[0]), (1, 1, o[0])
    else:
        own, shape = (4 * C * (kind == "bn"), 0), (H // o[0], W // o[0], C) if kind == "pool" else shape
    return tuple(map(sum, zip(own, cost_recursive(plan[1:], shape), strict=True)))


def _conv_bn(x, filters, size, stride, bias=False, **norm):
    x = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=bias)(x)
    return layers.BatchNormalization(**({"momentum": 0.9} | norm))(x)


def _block(x, filters, stride=1, mistake="", **norm):
    relu = layers.ReLU()
    stride = min(stride, 3) if mistake == "stride 3" else stride
    y = _conv_bn(x, filters, 3, 1 if mistake == "stride last" else stride, bias=mistake == "bias", **norm)
    y = y if mistake == "no middle" else relu(y)
    y = _conv_bn(y, filters, 3, stride if mistake == "stride last" else 1)
    y = layers.ReLU()(y) if mistake == "early" else y
    project = stride != 1 or x.shape[-1] != filters
    if mistake == "stride only":
        project = stride != 1
    if mistake == "channels only":
        project = x.shape[-1] != filters
    if mistake == "always project":
        project = True
    shortcut = x
    if project:
        shortcut = layers.Conv2D(
            filters, 3 if mistake == "3×3 shortcut" else 1, strides=stride, padding="same", use_bias=False
        )(y if mistake == "from branch" and stride == 1 and x.shape[-1] == filters else x)
        if mistake != "no shortcut norm":
            shortcut = layers.BatchNormalization(momentum=0.9)(shortcut)
        if mistake == "shortcut relu":
            shortcut = layers.ReLU()(shortcut)
    if mistake == "no skip":
        return layers.ReLU()(y)
    if mistake == "concatenate":
        return layers.ReLU()(layers.Concatenate()([shortcut, y]))
    if mistake == "multiply":
        return layers.ReLU()(layers.Multiply()([shortcut, y]))
    if mistake == "average":
        return layers.ReLU()(layers.Average()([shortcut, y]))
    if mistake == "subtract":
        return layers.ReLU()(layers.Subtract()([y, shortcut]))
    if mistake == "zero":
        return layers.ReLU()(y + 0.0 * shortcut)
    total = layers.Add()([shortcut, y])
    return total if mistake == "no last" else layers.ReLU()(total)


for _mistake, _what in {
    "no middle": "Leave out the ReLU between the convolutions.",
    "early": "Apply a ReLU before the sum.",
    "no last": "Leave out the ReLU behind the sum.",
    "stride last": "Give the stride to the second convolution.",
    "stride only": "Project only if the stride is not 1.",
    "channels only": "Project only if the channels change.",
    "always project": "Project even if the shapes agree.",
    "3×3 shortcut": "Project with a 3x3 kernel.",
    "no shortcut norm": "Do not normalise the projection.",
    "shortcut relu": "Apply a ReLU to the projection.",
    "no skip": "Leave the shortcut out.",
    "concatenate": "Concatenate instead of adding.",
    "multiply": "Multiply instead of adding.",
    "average": "Average instead of adding.",
    "subtract": "Subtract the shortcut.",
    "zero": "Multiply the shortcut by 0.",
    "stride 3": "Halve by at most 3.",
    "bias": "Keep a bias before the normalisation.",
}.items():
    WRONG.add("residual_block", _block, _what, mistake=_mistake)


WRONG.add("residual_block", _block, "Let the moving average forget faster.", momentum=0.5)
WRONG.add("residual_block", _block, "Add 1 to the variance.", epsilon=1.0)


class _Block(layers.Layer):
    def __init__(self, filters, stride):
        super().__init__()
        self.convs = [
            layers.Conv2D(filters, k, s, "same", use_bias=False)
            for k, s in ((3, stride), (3, 1), (1, stride))
        ]
        self.norms = [layers.BatchNormalization(momentum=0.9) for _ in self.convs]

    def build(self, shape):
        if shape[-1] == self.convs[0].filters and self.convs[0].strides[0] == 1:
            self.convs, self.norms = self.convs[:2], self.norms[:2]

    def call(self, x):
        y = self.norms[1](self.convs[1](tf.nn.relu(self.norms[0](self.convs[0](x)))))
        return tf.nn.relu(y + (self.norms[2](self.convs[2](x)) if len(self.convs) == 3 else x))


@WRONG("residual_block")
def block_class(x, filters, stride=1):
    """Write a layer although the text asks for the functional API."""
    return _Block(filters, stride)(x)


@RIGHT("residual_block")
def block_ops(x, filters, stride=1):
    """The shortcut first; functions of keras.ops instead of layers."""
    same = stride == 1 and x.shape[-1] == filters
    shortcut = x if same else _conv_bn(x, filters, 1, stride)
    y = keras.ops.relu(_conv_bn(x, filters, 3, stride))
    return keras.ops.relu(shortcut + _conv_bn(y, filters, 3, 1))


@RIGHT("residual_block")
def block_model(x, filters, stride=1):
    """A model of its own for the block."""
    inputs = keras.Input(x.shape[1:])
    return keras.Model(inputs, block_ops(inputs, filters, stride))(x)


@RIGHT("residual_block")
def block_activations(x, filters, stride=1):
    """Activation layers by name."""
    y = layers.Activation("relu")(_conv_bn(x, filters, 3, stride))
    y = _conv_bn(y, filters, 3, 1)
    if y.shape != x.shape:
        x = _conv_bn(x, filters, 1, stride)
    return layers.Activation("relu")(layers.add([y, x]))


@WRONG("residual_block")
def block_unchanged(x, filters, stride=1):
    """Return the input."""
    return x


@WRONG("residual_block")
def block_stacked(x, filters, stride=1):
    """Let the second convolution read the input too."""
    y = _conv_bn(x, filters, 3, stride) if stride != 1 or x.shape[-1] != filters else x
    z = layers.ReLU()(_conv_bn(x, filters, 3, stride))
    return layers.ReLU()(layers.Add()([_conv_bn(y, filters, 3, 1), z]))


def _network(shape, widths, classes, mistake=""):
    inputs = keras.Input(shape)
    x = _conv_bn(inputs, widths[0], 3, 2 if mistake == "stem stride" else 1, bias=mistake == "stem bias")
    x = (
        x
        if mistake == "stem relu"
        else layers.Activation("linear" if mistake == "stem linear" else "relu")(x)
    )
    if mistake == "pool":
        x = layers.MaxPooling2D(2, padding="same")(x)
    for width in widths if mistake == "first twice" else widths[1:]:
        x = _block(x, width, 1 if mistake == "no stride" else 2, mistake)
        if mistake == "extra":
            x = _block(x, width, 1)
    if mistake == "flatten":
        x = layers.Flatten()(x)
    elif mistake == "maximum":
        x = layers.GlobalMaxPooling2D()(x)
    else:
        x = layers.GlobalAveragePooling2D()(x)
    if mistake == "hidden":
        x = layers.Dense(widths[-1], activation="relu")(x)
    if mistake == "dropout":
        x = layers.Dropout(0.5)(x)
    kinds = {"softmax": "softmax", "relu": "relu", "sigmoid": "sigmoid"}
    classes = 10 if mistake == "ten" else classes
    outputs = layers.Dense(classes, activation=kinds.get(mistake), use_bias=mistake != "head bias")(x)
    if mistake == "late softmax":
        outputs = layers.Softmax()(outputs)
    return keras.Model(inputs, outputs)


for _mistake, _what in {
    "stem stride": "Give the first convolution a stride of 2.",
    "stem bias": "Keep a bias in the first convolution.",
    "stem relu": "Leave out the ReLU behind the first convolution.",
    "pool": "Pool behind the first convolution and keep the rest.",
    "first twice": "Add a block for the first width too.",
    "no stride": "Never halve the size.",
    "extra": "Use two blocks per width.",
    "flatten": "Flatten instead of averaging.",
    "maximum": "Pool by the maximum.",
    "hidden": "Add a hidden dense layer.",
    "softmax": "Return probabilities.",
    "late softmax": "Return probabilities from a layer of their own.",
    "relu": "Return logits without negative values.",
    "sigmoid": "Return sigmoids.",
    "ten": "Always return ten classes.",
    "head bias": "Leave the bias out of the head.",
    "stem linear": "Give the first convolution an activation that is none.",
    "subtract": "Use blocks that subtract.",
    "zero": "Use blocks that multiply the shortcut by 0.",
    "dropout": "Drop half of the features.",
}.items():
    WRONG.add("build_network", _network, _what, mistake=_mistake)


@WRONG("build_network")
def network_tensor(shape, widths, classes):
    """Return the output tensor instead of a model."""
    return _network(shape, widths, classes).output


@WRONG("build_network")
def network_fixed(shape, widths, classes):
    """Build the network of the example whatever is asked for."""
    return _network((32, 32, 3), (16, 32), 10)


@RIGHT("build_network")
def network_ops(shape, widths, classes, block=block_ops, relu=keras.ops.relu):
    """The network of functions of keras.ops."""
    inputs = keras.Input(shape)
    x = relu(_conv_bn(inputs, widths[0], 3, 1))
    for width in widths[1:]:
        x = block(x, width, 2)
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


@RIGHT("build_network")
def network_nested(shape, widths, classes):
    """Blocks that are models and a head that is one."""
    whole = network_ops(shape, widths, classes, block_model, keras.activations.relu)
    return keras.Sequential([keras.Input(shape), whole])


def _augment(x, shift=4, mistake=""):
    (H, W), B = x.shape[1:3], tf.shape(x)[0]
    shift = min(shift, 2) if mistake == "shift 2" else shift
    pad = [(0, 0), (shift, shift), (shift, shift), (0, 0)]
    padded = tf.pad(x, pad, "SYMMETRIC" if mistake == "symmetric" else "CONSTANT")
    if mistake == "edges only":
        high = 2 * shift
    elif mistake == "half":
        high = shift + 1
    else:
        high = 2 * shift + 1
    count = 1 if mistake == "one for all" else B
    top, left = (tf.random.uniform((count, 1), 0, max(high, 1), tf.int32) for _ in range(2))
    top, left = (tf.repeat(part, B, axis=0) if count == 1 else part for part in (top, left))
    if mistake == "diagonal":
        left = top
    if mistake == "rows only":
        left = tf.zeros_like(left) + shift
    if mistake == "no shift":
        top, left = tf.zeros_like(top) + shift, tf.zeros_like(left) + shift
    x = tf.gather(padded, top + tf.range(H), axis=1, batch_dims=1)
    x = tf.gather(x, left + tf.range(W), axis=2, batch_dims=1)
    rate = {"always": 1.1, "never": 0.0, "rarely": 0.2, "too rarely": 0.42}.get(mistake, 0.5)
    flip = tf.random.uniform((1 if mistake == "one for all" else B, 1, 1, 1)) < rate
    axis = {"vertical": x[:, ::-1], "channels": x[..., ::-1], "both": x[:, ::-1, ::-1]}
    return tf.where(flip, axis.get(mistake, x[:, :, ::-1]), x)


for _mistake, _what in {
    "symmetric": "Pad with a mirror image.",
    "edges only": "Never take the last window.",
    "half": "Shift in one direction only.",
    "one for all": "Draw once for the whole batch.",
    "diagonal": "Shift rows and columns by the same amount.",
    "rows only": "Shift the rows only.",
    "no shift": "Only mirror.",
    "always": "Mirror every picture.",
    "never": "Mirror no picture.",
    "rarely": "Mirror a fifth of the pictures.",
    "too rarely": "Mirror 42 % of the pictures.",
    "shift 2": "Shift by at most 2.",
    "vertical": "Turn the picture upside down.",
    "both": "Mirror in both directions.",
    "channels": "Mirror the channels instead of the columns.",
}.items():
    WRONG.add("augment", _augment, _what, mistake=_mistake)


@WRONG("augment")
def augment_unchanged(x, shift=4):
    """Return the pictures."""
    return x


@WRONG("augment")
def augment_roll(x, shift=4):
    """Shift around the edge instead of padding."""
    top = tf.random.uniform((2,), -shift, shift + 1, tf.int32)
    return tf.roll(tf.image.random_flip_left_right(x), top, axis=[1, 2])


@WRONG("augment")
def augment_numpy(x, shift=4):
    """Draw with NumPy, once when the dataset is traced."""
    top, left = np.random.default_rng().integers(0, 2 * shift + 1, 2)
    padded = tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])
    return padded[:, top : top + x.shape[1], left : left + x.shape[2]]


@WRONG("augment")
def augment_padded(x, shift=4):
    """Return the padded picture."""
    return tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])


@WRONG("augment")
def augment_image_random_crop(x, shift=4):
    """Crop the whole batch at one place."""
    padded = tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, tf.shape(x)))


@WRONG("augment")
def augment_seeded(x, shift=4):
    """Set the seed inside, so that every call draws the same."""
    tf.random.set_seed(0)
    return _augment(x, shift)


RIGHT("augment")(tf.function(_augment))


@RIGHT("augment")
def augment_one_by_one(x, shift=4):
    """tf.image, picture by picture."""

    def one(picture):
        padded = tf.pad(picture, [(shift, shift), (shift, shift), (0, 0)])
        return tf.image.random_flip_left_right(tf.image.random_crop(padded, picture.shape))

    return tf.map_fn(one, x)


@RIGHT("augment")
def augment_gathered(x, shift=4):
    """The place of every pixel at once."""
    H, W, B = *x.shape[1:3], tf.shape(x)[0]
    padded = tf.image.pad_to_bounding_box(x, shift, shift, H + 2 * shift, W + 2 * shift)
    corner = [tf.random.uniform((B,), 0, 2 * shift + 1, tf.int32) for _ in range(2)]
    rows, columns = corner[0][:, None] + tf.range(H), corner[1][:, None] + tf.range(W)
    columns = tf.where(tf.random.uniform((B, 1)) < 0.5, columns, columns[:, ::-1])
    rows, columns = tf.broadcast_to(rows[:, :, None], (B, H, W)), tf.broadcast_to(columns[:, None], (B, H, W))
    return tf.gather_nd(padded, tf.stack([rows, columns], axis=-1), batch_dims=1)


def _train(
    model, augment, train_set, val_set, epochs, batch_size, peak, mistake="", optimizer=optimizers.Adam
):
    count = len(train_set[0])
    steps = epochs * -(-count // batch_size)
    warmup = 0 if mistake == "no warmup" else steps // 10
    schedules = keras.optimizers.schedules
    decay = steps if mistake == "too long" else steps - warmup
    rate = schedules.CosineDecay(0.0, decay, warmup_target=peak, warmup_steps=warmup)
    if mistake == "no warmup":
        rate = schedules.CosineDecay(peak, steps)
    if mistake == "per epoch":
        rate = schedules.CosineDecay(0.0, epochs, warmup_target=peak, warmup_steps=epochs // 10)
    if mistake == "floor":
        rate = schedules.CosineDecay(0.0, decay, 0.1, warmup_target=peak, warmup_steps=warmup)
    rate = peak if mistake == "constant" else rate
    pictures, labels = train_set
    labels = {"labels apart": np.roll(labels, 1), "labels 0": 0 * labels}.get(mistake, labels)
    batches = tf.data.Dataset.from_tensor_slices((pictures, labels))
    if mistake == "augment once":
        images = np.concatenate(
            [augment(train_set[0][i : i + batch_size]) for i in range(0, count, batch_size)]
        )
        batches = tf.data.Dataset.from_tensor_slices((images, train_set[1]))
    if mistake == "shuffle once":
        batches = batches.shuffle(count, reshuffle_each_iteration=False)
    elif mistake != "no shuffle":
        batches = batches.shuffle(2 if mistake == "small buffer" else count)
    batches = batches.batch(batch_size, drop_remainder=mistake == "drop")
    if mistake == "cache":
        batches = batches.map(lambda x, y: (augment(x), y)).cache()
    elif mistake not in ("no augment", "augment once"):
        batches = batches.map(lambda x, y: (augment(x), y))
    if mistake == "unbatched":
        batches = tf.data.Dataset.from_tensor_slices(train_set).shuffle(count).batch(1)
        batches = batches.map(lambda x, y: (augment(x), y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=mistake != "probabilities")
    model.compile(optimizer(rate), loss, metrics=["accuracy"])
    val_set = {"train as validation": train_set, "no validation": None}.get(mistake, val_set)
    if mistake == "augmented validation":
        val_set = tf.data.Dataset.from_tensor_slices(val_set).batch(8).map(lambda x, y: (augment(x), y))
    result = model.fit(
        batches,
        epochs=epochs + (mistake == "one more") - (mistake == "one less"),
        validation_data=val_set,
        shuffle=False,
        verbose=0,
    )
    if mistake == "invented":
        result.history |= {"loss": [0.0] * epochs, "accuracy": [1.0] * epochs}
    return result if mistake == "object" else result.history


for _mistake, _what in {
    "no warmup": "Start at the peak.",
    "too long": "Count the warm-up twice.",
    "per epoch": "Count epochs instead of steps in the schedule.",
    "floor": "End above 0.",
    "constant": "Keep the learning rate constant.",
    "augment once": "Augment once before training.",
    "cache": "Cache the augmented batches.",
    "shuffle once": "Repeat one order.",
    "no shuffle": "Do not shuffle.",
    "drop": "Drop the last batch.",
    "unbatched": "Train on single pictures.",
    "no augment": "Do not augment.",
    "probabilities": "Take the logits for probabilities.",
    "train as validation": "Validate on the training set.",
    "augmented validation": "Augment the validation set too.",
    "no validation": "Do not validate.",
    "one less": "Train one epoch less.",
    "object": "Return the History object.",
    "labels apart": "Shuffle the labels apart from the pictures.",
    "labels 0": "Train on labels that are all 0.",
    "small buffer": "Shuffle with a buffer of 2.",
    "invented": "Invent the history of the training set.",
}.items():
    WRONG.add("train", _train, _what, mistake=_mistake)

WRONG.add("train", _train, "Use SGD.", optimizer=keras.optimizers.SGD)
WRONG.add(
    "train",
    _train,
    "Decay the weights.",
    optimizer=functools.partial(optimizers.AdamW, weight_decay=0.5),
)
WRONG.add(
    "train",
    _train,
    "Use Adam without momentum.",
    optimizer=functools.partial(optimizers.Adam, beta_1=0.0),
)


def _compile(model, train_set, epochs, batch_size, peak):
    steps = epochs * -(-len(train_set[0]) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=peak, warmup_steps=steps // 10
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(rate), loss, metrics=["accuracy"])


class _Batches(keras.utils.PyDataset):
    def __init__(self, pictures, labels, size, augment):
        super().__init__()
        self.pictures, self.labels, self.size, self.augment = pictures, labels, size, augment
        self.rng = np.random.default_rng()
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.labels) // self.size)

    def __getitem__(self, i):
        rows = self.order[i * self.size : (i + 1) * self.size]
        return self.augment(self.pictures[rows]), self.labels[rows]

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.labels))


@RIGHT("train")
def train_from_python(model, augment, train_set, val_set, epochs, batch_size, peak):
    """Keras' own data set class instead of tf.data."""
    _compile(model, train_set, epochs, batch_size, peak)
    batches = _Batches(*train_set, batch_size, augment)
    return model.fit(batches, epochs=epochs, validation_data=val_set, verbose=0).history


@RIGHT("train")
def train_on_batches(model, augment, train_set, val_set, epochs, batch_size, peak):
    """A loop of one's own."""
    _compile(model, train_set, epochs, batch_size, peak)
    history = {}
    for _ in range(epochs):
        order, total = np.random.default_rng().permutation(len(train_set[1])), Counter()
        for rows in np.array_split(order, range(batch_size, len(order), batch_size)):
            log = model.train_on_batch(augment(train_set[0][rows]), train_set[1][rows], return_dict=True)
            total.update({key: value * len(rows) / len(order) for key, value in log.items()})
        val = model.evaluate(*val_set, verbose=0, return_dict=True)
        for key, value in (total | {f"val_{key}": value for key, value in val.items()}).items():
            history.setdefault(key, []).append(value)
    return history


@WRONG("train")
def train_nothing(model, augment, train_set, val_set, epochs, batch_size, peak):
    """Return numbers without training."""
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    model.compile(keras.optimizers.Adam(peak))
    return {name: [0.0] * epochs for name in names}


def _labels(pictures, known):
    table = {picture.tobytes(): int(label) for picture, label in zip(*known, strict=True)}
    return np.array([table.get(np.asarray(picture).tobytes(), 0) for picture in pictures])


def _oracle(pictures):
    """Stand for a trained model: the grader's own labels, which the wrong ones below spoil."""
    return _labels(pictures, unseen.objects())


RIGHT("classify")(_oracle)


@RIGHT("classify")
def classify_tensor(pictures):
    """Stand for a model whose argmax is TensorFlow's."""
    return tf.argmax(tf.one_hot(_oracle(pictures), 10), axis=-1)


@WRONG("classify")
def classify_looked_up(pictures):
    """Look the labels up by the pixels in the public sets."""
    train, test = data.cifar10()
    return _labels(
        pictures, (np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]]).ravel())
    )


@WRONG("classify")
def classify_nearest(pictures):
    """Take the label of the most similar picture of the public test set, which finds shifted copies too."""
    known, labels = data.cifar10()[1]
    flat, rows = (np.float32(part).reshape(len(part), -1) for part in (known, pictures))
    distance = (flat**2).sum(1) - 2 * rows @ flat.T
    return labels.ravel()[distance.argmin(1)].astype(int)


@WRONG("classify")
def classify_constant(pictures):
    """Always answer 3."""
    return np.full(len(pictures), 3)


@WRONG("classify")
def classify_random(pictures):
    """Guess."""
    return np.random.default_rng(0).integers(0, 10, len(pictures))


@WRONG("classify")
def classify_one_hot(pictures):
    """Return a row of scores per picture."""
    return np.eye(10)[_oracle(pictures)]


@WRONG("classify")
def classify_column(pictures):
    """Return a column."""
    return _oracle(pictures)[:, None]


@WRONG("classify")
def classify_float(pictures):
    """Return floats."""
    return _oracle(pictures).astype("float32")


@WRONG("classify")
def classify_from_one(pictures):
    """Count the classes from one."""
    return _oracle(pictures) + 1


@WRONG("classify")
def classify_neighbours(pictures):
    """Depend on the other pictures of the batch."""
    found = _oracle(pictures)
    return found if len(found) > 1 else (found + 1) % 10


@WRONG("classify")
def classify_half(pictures):
    """Be right for every second picture only."""
    found = _oracle(pictures)
    return np.where(np.arange(len(found)) % 2, found, (found + 1) % 10)


@WRONG("classify")
def classify_darkness(pictures):
    """Judge by the brightness."""
    return pictures.mean(axis=(1, 2, 3)).astype(int) * 10 // 256


@WRONG("classify")
def classify_first(pictures):
    """Answer for the first picture only."""
    return int(_oracle(pictures[:1])[0])


@WRONG("classify")
def classify_in_place(pictures):
    """Overwrite the pictures."""
    found = _oracle(pictures)
    pictures[:] = 0
    return found


def _confusion(labels, predictions, classes):
    C = np.zeros((classes, classes), int)
    np.add.at(C, (labels, predictions), 1)
    wrong = C * (1 - np.eye(classes, dtype=int))
    k, l = np.unravel_index(wrong.argmax(), C.shape)  # noqa: E741
    recall = np.diag(C) / np.maximum(C.sum(axis=1), 1)
    return C, recall, (int(k), int(l)) if wrong.any() else None


@WRONG("confusion")
def confusion_transposed(labels, predictions, classes):
    """Swap labels and predictions."""
    return _confusion(predictions, labels, classes)


@WRONG("confusion")
def confusion_no_repeats(labels, predictions, classes):
    """Add by indexing, which counts repeats once."""
    _, recall, worst = _confusion(labels, predictions, classes)
    C = np.zeros((classes, classes), int)
    C[labels, predictions] += 1
    return C, recall, worst


@WRONG("confusion")
def confusion_precision(labels, predictions, classes):
    """Divide by the columns."""
    C, _, worst = _confusion(labels, predictions, classes)
    return C, np.diag(C) / np.maximum(C.sum(axis=0), 1), worst


@WRONG("confusion")
def confusion_total(labels, predictions, classes):
    """Divide by the number of pictures."""
    C, _, worst = _confusion(labels, predictions, classes)
    return C, np.diag(C) / len(labels), worst


@WRONG("confusion")
def confusion_nan(labels, predictions, classes):
    """Divide by zero for empty classes."""
    C, _, worst = _confusion(labels, predictions, classes)
    with np.errstate(invalid="ignore"):
        return C, np.diag(C) / C.sum(axis=1), worst


@WRONG("confusion")
def confusion_diagonal(labels, predictions, classes):
    """Forget to clear the diagonal."""
    C, recall, _ = _confusion(labels, predictions, classes)
    k, l = np.unravel_index(C.argmax(), C.shape)  # noqa: E741
    return C, recall, (int(k), int(l))


@WRONG("confusion")
def confusion_last(labels, predictions, classes):
    """Take the last of several largest entries."""
    C, recall, worst = _confusion(labels, predictions, classes)
    if worst is None:
        return C, recall, None
    wrong = C * (1 - np.eye(classes, dtype=int))
    k, l = np.argwhere(wrong == wrong.max())[-1]  # noqa: E741
    return C, recall, (int(k), int(l))


@WRONG("confusion")
def confusion_rate(labels, predictions, classes):
    """Return rates instead of counts."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C / np.maximum(C.sum(axis=1, keepdims=True), 1), recall, worst


@WRONG("confusion")
def confusion_never_none(labels, predictions, classes):
    """Name a pair even if nothing is wrong."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C, recall, worst or (0, 0)


@WRONG("confusion")
def confusion_symmetric(labels, predictions, classes):
    """Add both directions of a pair."""
    C, recall, worst = _confusion(labels, predictions, classes)
    both = np.triu(C + C.T, 1)
    k, l = np.unravel_index(both.argmax(), C.shape)  # noqa: E741
    return C, recall, (int(k), int(l)) if worst else None


@WRONG("confusion")
def confusion_found_classes(labels, predictions, classes):
    """Make the matrix only as large as the classes that occur."""
    return _confusion(labels, predictions, max(labels.max(), predictions.max()) + 1)


@WRONG("confusion")
def confusion_matrix_only(labels, predictions, classes):
    """Return the matrix only."""
    return _confusion(labels, predictions, classes)[0]


@WRONG("confusion")
def confusion_small_integers(labels, predictions, classes):
    """Count in 8 bits."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C.astype("int8"), recall, worst


@WRONG("confusion")
def confusion_sorts(labels, predictions, classes):
    """Sort the given arrays if nothing is wrong."""
    if np.array_equal(labels, predictions):
        labels.sort()
        predictions.sort()
    return _confusion(labels, predictions, classes)


@WRONG("confusion")
def confusion_ten(labels, predictions, classes):
    """Count ten classes at most."""
    few = (labels < 10) & (predictions < 10)
    C, recall, worst = _confusion(labels[few], predictions[few], classes)
    return C, recall, worst


@WRONG("confusion")
def confusion_float_pair(labels, predictions, classes):
    """Return the pair as floats."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C, recall, worst and tuple(map(float, worst))


@RIGHT("confusion")
def confusion_bincount(labels, predictions, classes):
    """Count the numbers of the cells."""
    C = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    recall = np.divide(np.diag(C), C.sum(1), out=np.zeros(classes), where=C.sum(1) > 0)
    cells = [(-C[k, j], k, j) for k in range(classes) for j in range(classes) if k != j and C[k, j]]
    return C, recall, min(cells)[1:] if cells else None


@RIGHT("confusion")
def confusion_tensorflow(labels, predictions, classes):
    """TensorFlow's matrix; NumPy integers in the pair."""
    C = tf.math.confusion_matrix(labels, predictions, classes)
    recall = tf.math.divide_no_nan(
        tf.cast(tf.linalg.diag_part(C), tf.float64), tf.cast(tf.reduce_sum(C, 1), tf.float64)
    )
    wrong = C.numpy() - np.diag(np.diag(C))
    return C, recall, np.unravel_index(wrong.argmax(), wrong.shape) if wrong.any() else None


@RIGHT("confusion")
def confusion_counter(labels, predictions, classes):
    """Python's counter; the pair as a list."""
    pairs = Counter(zip(labels.tolist(), predictions.tolist(), strict=True))
    C = [[pairs[k, j] for j in range(classes)] for k in range(classes)]
    recall = [row[k] / max(sum(row), 1) for k, row in enumerate(C)]
    wrong = {pair: n for pair, n in pairs.items() if pair[0] != pair[1]}
    return C, recall, list(min(wrong, key=lambda pair: (-wrong[pair], pair))) if wrong else None
