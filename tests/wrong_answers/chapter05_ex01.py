"""Wrong answers to practice 5.1; every one of them must be marked ❌."""

import functools

import numpy as np
import tensorflow as tf

from tf_study import data

keras = tf.keras
layers = keras.layers


def _variants(base, mistakes):
    """Yield ``base`` with each mistake, named after both; ``mistakes`` maps the mistake to its description."""
    for mistake, text in mistakes.items():
        answer = functools.partial(base, mistake=mistake)
        answer.__name__ = f"{base.__name__.removeprefix('_')}_{mistake.replace(' ', '_')}"
        answer.__doc__ = text
        yield answer


def standardize_own(x, reference):
    """Use the statistics of the pictures themselves."""
    return ((x - x.mean((0, 1, 2))) / np.maximum(x.std((0, 1, 2)), 1e-9)).astype("float32")


def standardize_one_statistic(x, reference):
    """Use one mean and deviation for all channels."""
    return ((x - reference.mean()) / reference.std()).astype("float32")


def standardize_pixelwise(x, reference):
    """Keep the places apart: statistics over the pictures only, right for one pixel."""
    return ((x - reference.mean(0)) / np.maximum(reference.std(0), 1e-9)).astype("float32")


def standardize_variance(x, reference):
    """Divide by the variance."""
    return ((x - reference.mean((0, 1, 2))) / reference.var((0, 1, 2))).astype("float32")


def standardize_sample(x, reference):
    """Divide by the deviation with N - 1."""
    return ((x - reference.mean((0, 1, 2))) / reference.std((0, 1, 2), ddof=1)).astype("float32")


def standardize_double(x, reference):
    """Return float64."""
    return (x - reference.mean((0, 1, 2))) / reference.std((0, 1, 2))


def standardize_scaled_once(x, reference):
    """Scale the pictures by 255 but not the reference."""
    return ((x / 255 - reference.mean((0, 1, 2))) / reference.std((0, 1, 2))).astype("float32")


def standardize_wraps(x, reference):
    """Subtract in the type of the pictures, where uint8 wraps around."""
    mean = reference.mean((0, 1, 2)).astype(x.dtype)
    return ((x - mean) / reference.std((0, 1, 2))).astype("float32")


def standardize_255(x, reference):
    """Only divide by 255."""
    return (x / 255).astype("float32")


def _cost(plan, shape, mistake):
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


def _costs():
    names = {
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
    }
    yield from _variants(_cost, names)


def cost_example(plan, shape):
    """Return the numbers of the example."""
    return 5466, 737600


def cost_float(plan, shape):
    """Return floats."""
    return tuple(map(float, _cost(plan, shape, "")))


def cost_swapped(plan, shape):
    """Return the two numbers in the other order."""
    return _cost(plan, shape, "")[::-1]


def _conv_bn(x, filters, size, stride, bias=False):
    x = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=bias)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def _block(x, filters, stride=1, mistake=""):
    relu = layers.ReLU()
    y = _conv_bn(x, filters, 3, 1 if mistake == "stride last" else stride, bias=mistake == "bias")
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
    total = layers.Add()([shortcut, y])
    return total if mistake == "no last" else layers.ReLU()(total)


def _blocks():
    names = {
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
        "bias": "Keep a bias before the normalisation.",
    }
    yield from _variants(_block, names)


def block_unchanged(x, filters, stride=1):
    """Return the input."""
    return x


def block_stacked(x, filters, stride=1):
    """Let the second convolution read the input too."""
    y = _conv_bn(x, filters, 3, stride) if stride != 1 or x.shape[-1] != filters else x
    z = layers.ReLU()(_conv_bn(x, filters, 3, stride))
    return layers.ReLU()(layers.Add()([_conv_bn(y, filters, 3, 1), z]))


def _network(shape, widths, classes, mistake):
    inputs = keras.Input(shape)
    x = _conv_bn(inputs, widths[0], 3, 2 if mistake == "stem stride" else 1, bias=mistake == "stem bias")
    x = x if mistake == "stem relu" else layers.ReLU()(x)
    if mistake == "pool":
        x = layers.MaxPooling2D(2, padding="same")(x)
    for width in widths if mistake == "first twice" else widths[1:]:
        x = _block(x, width, 1 if mistake == "no stride" else 2)
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
    kinds = {"softmax": "softmax", "relu": "relu", "sigmoid": "sigmoid"}
    classes = 10 if mistake == "ten" else classes
    outputs = layers.Dense(classes, activation=kinds.get(mistake), use_bias=mistake != "head bias")(x)
    if mistake == "late softmax":
        outputs = layers.Softmax()(outputs)
    return keras.Model(inputs, outputs)


def _networks():
    names = {
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
    }
    yield from _variants(_network, names)


def network_tensor(shape, widths, classes):
    """Return the output tensor instead of a model."""
    return _network(shape, widths, classes, "").output


def network_fixed(shape, widths, classes):
    """Build the network of the example whatever is asked for."""
    return _network((32, 32, 3), (16, 32), 10, "")


def _augment(x, shift=4, mistake=""):
    (H, W), B = x.shape[1:3], tf.shape(x)[0]
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
    rate = {"always": 1.1, "never": 0.0, "rarely": 0.2}.get(mistake, 0.5)
    flip = tf.random.uniform((1 if mistake == "one for all" else B, 1, 1, 1)) < rate
    axis = {"vertical": x[:, ::-1], "channels": x[..., ::-1], "both": x[:, ::-1, ::-1]}
    return tf.where(flip, axis.get(mistake, x[:, :, ::-1]), x)


def _augments():
    names = {
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
        "vertical": "Turn the picture upside down.",
        "both": "Mirror in both directions.",
    }
    yield from _variants(_augment, names)


def augment_channels(x, shift=4):
    """Mirror the channels instead of the columns."""
    return _augment(x, shift, "channels")


def augment_unchanged(x, shift=4):
    """Return the pictures."""
    return x


def augment_roll(x, shift=4):
    """Shift around the edge instead of padding."""
    top = tf.random.uniform((2,), -shift, shift + 1, tf.int32)
    return tf.roll(tf.image.random_flip_left_right(x), top, axis=[1, 2])


def augment_numpy(x, shift=4):
    """Draw with NumPy, once when the dataset is traced."""
    top, left = np.random.default_rng().integers(0, 2 * shift + 1, 2)
    padded = tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])
    return padded[:, top : top + x.shape[1], left : left + x.shape[2]]


def augment_padded(x, shift=4):
    """Return the padded picture."""
    return tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])


def augment_image_random_crop(x, shift=4):
    """Crop the whole batch at one place."""
    padded = tf.pad(x, [(0, 0), (shift, shift), (shift, shift), (0, 0)])
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, tf.shape(x)))


def augment_seeded(x, shift=4):
    """Set the seed inside, so that every call draws the same."""
    tf.random.set_seed(0)
    return _augment(x, shift)


def _train(model, augment, train_set, val_set, epochs, batch_size, peak, mistake):
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
    batches = tf.data.Dataset.from_tensor_slices(train_set)
    if mistake == "augment once":
        images = np.concatenate(
            [augment(train_set[0][i : i + batch_size]) for i in range(0, count, batch_size)]
        )
        batches = tf.data.Dataset.from_tensor_slices((images, train_set[1]))
    if mistake == "shuffle once":
        batches = batches.shuffle(count, reshuffle_each_iteration=False)
    elif mistake != "no shuffle":
        batches = batches.shuffle(count)
    batches = batches.batch(batch_size, drop_remainder=mistake == "drop")
    if mistake == "cache":
        batches = batches.map(lambda x, y: (augment(x), y)).cache()
    elif mistake not in ("no augment", "augment once"):
        batches = batches.map(lambda x, y: (augment(x), y))
    if mistake == "unbatched":
        batches = tf.data.Dataset.from_tensor_slices(train_set).shuffle(count).batch(1)
        batches = batches.map(lambda x, y: (augment(x), y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=mistake != "probabilities")
    kind = {"sgd": keras.optimizers.SGD, "rmsprop": keras.optimizers.RMSprop}
    model.compile(kind.get(mistake, keras.optimizers.Adam)(rate), loss, metrics=["accuracy"])
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
    return result if mistake == "object" else result.history


def _trains():
    names = {
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
        "sgd": "Use SGD.",
        "train as validation": "Validate on the training set.",
        "augmented validation": "Augment the validation set too.",
        "no validation": "Do not validate.",
        "one less": "Train one epoch less.",
        "object": "Return the History object.",
    }
    yield from _variants(_train, names)


def train_nothing(model, augment, train_set, val_set, epochs, batch_size, peak):
    """Return numbers without training."""
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    model.compile(keras.optimizers.Adam(peak))
    return {name: [0.0] * epochs for name in names}


@functools.cache
def _known():
    (_, _), (pictures, labels) = data.cifar10()
    return {picture.tobytes(): int(label) for picture, label in zip(pictures, labels.ravel(), strict=True)}


def _oracle(pictures):
    """Look the labels up: right answers for the wrong ones below to spoil."""
    return np.array([_known()[np.asarray(picture).tobytes()] for picture in pictures])


def classify_constant(pictures):
    """Always answer 3."""
    return np.full(len(pictures), 3)


def classify_random(pictures):
    """Guess."""
    return np.random.default_rng(0).integers(0, 10, len(pictures))


def classify_one_hot(pictures):
    """Return a row of scores per picture."""
    return np.eye(10)[_oracle(pictures)]


def classify_column(pictures):
    """Return a column."""
    return _oracle(pictures)[:, None]


def classify_float(pictures):
    """Return floats."""
    return _oracle(pictures).astype("float32")


def classify_from_one(pictures):
    """Count the classes from one."""
    return _oracle(pictures) + 1


def classify_neighbours(pictures):
    """Depend on the other pictures of the batch."""
    found = _oracle(pictures)
    return found if len(found) > 1 else (found + 1) % 10


def classify_half(pictures):
    """Be right for every second picture only."""
    found = _oracle(pictures)
    return np.where(np.arange(len(found)) % 2, found, (found + 1) % 10)


def classify_darkness(pictures):
    """Judge by the brightness."""
    return pictures.mean(axis=(1, 2, 3)).astype(int) * 10 // 256


def classify_first(pictures):
    """Answer for the first picture only."""
    return int(_oracle(pictures[:1])[0])


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


def confusion_transposed(labels, predictions, classes):
    """Swap labels and predictions."""
    return _confusion(predictions, labels, classes)


def confusion_no_repeats(labels, predictions, classes):
    """Add by indexing, which counts repeats once."""
    _, recall, worst = _confusion(labels, predictions, classes)
    C = np.zeros((classes, classes), int)
    C[labels, predictions] += 1
    return C, recall, worst


def confusion_precision(labels, predictions, classes):
    """Divide by the columns."""
    C, _, worst = _confusion(labels, predictions, classes)
    return C, np.diag(C) / np.maximum(C.sum(axis=0), 1), worst


def confusion_total(labels, predictions, classes):
    """Divide by the number of pictures."""
    C, _, worst = _confusion(labels, predictions, classes)
    return C, np.diag(C) / len(labels), worst


def confusion_nan(labels, predictions, classes):
    """Divide by zero for empty classes."""
    C, _, worst = _confusion(labels, predictions, classes)
    with np.errstate(invalid="ignore"):
        return C, np.diag(C) / C.sum(axis=1), worst


def confusion_diagonal(labels, predictions, classes):
    """Forget to clear the diagonal."""
    C, recall, _ = _confusion(labels, predictions, classes)
    k, l = np.unravel_index(C.argmax(), C.shape)  # noqa: E741
    return C, recall, (int(k), int(l))


def confusion_last(labels, predictions, classes):
    """Take the last of several largest entries."""
    C, recall, worst = _confusion(labels, predictions, classes)
    if worst is None:
        return C, recall, None
    wrong = C * (1 - np.eye(classes, dtype=int))
    k, l = np.argwhere(wrong == wrong.max())[-1]  # noqa: E741
    return C, recall, (int(k), int(l))


def confusion_rate(labels, predictions, classes):
    """Return rates instead of counts."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C / np.maximum(C.sum(axis=1, keepdims=True), 1), recall, worst


def confusion_never_none(labels, predictions, classes):
    """Name a pair even if nothing is wrong."""
    C, recall, worst = _confusion(labels, predictions, classes)
    return C, recall, worst or (0, 0)


def confusion_symmetric(labels, predictions, classes):
    """Add both directions of a pair."""
    C, recall, worst = _confusion(labels, predictions, classes)
    both = np.triu(C + C.T, 1)
    k, l = np.unravel_index(both.argmax(), C.shape)  # noqa: E741
    return C, recall, (int(k), int(l)) if worst else None


def confusion_found_classes(labels, predictions, classes):
    """Make the matrix only as large as the classes that occur."""
    return _confusion(labels, predictions, max(labels.max(), predictions.max()) + 1)


def confusion_matrix_only(labels, predictions, classes):
    """Return the matrix only."""
    return _confusion(labels, predictions, classes)[0]


WRONG = {
    "standardize": [
        standardize_own,
        standardize_one_statistic,
        standardize_pixelwise,
        standardize_variance,
        standardize_sample,
        standardize_double,
        standardize_scaled_once,
        standardize_wraps,
        standardize_255,
    ],
    "count_cost": [*_costs(), cost_example, cost_float, cost_swapped],
    "residual_block": [*_blocks(), block_unchanged, block_stacked],
    "build_network": [*_networks(), network_tensor, network_fixed],
    "augment": [
        *_augments(),
        augment_channels,
        augment_unchanged,
        augment_roll,
        augment_numpy,
        augment_padded,
        augment_image_random_crop,
        augment_seeded,
    ],
    "train": [*_trains(), train_nothing],
    "classify": [
        classify_constant,
        classify_random,
        classify_one_hot,
        classify_column,
        classify_float,
        classify_from_one,
        classify_neighbours,
        classify_half,
        classify_darkness,
        classify_first,
        classify_in_place,
    ],
    "confusion": [
        confusion_transposed,
        confusion_no_repeats,
        confusion_precision,
        confusion_total,
        confusion_nan,
        confusion_diagonal,
        confusion_last,
        confusion_rate,
        confusion_never_none,
        confusion_symmetric,
        confusion_found_classes,
        confusion_matrix_only,
    ],
}
