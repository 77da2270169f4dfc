"""Right and wrong answers to practice 5.2."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import data, optimizers
from tf_study.data import unseen

RIGHT, WRONG = Answers(), Answers()

keras, layers = tf.keras, tf.keras.layers
BN = layers.BatchNormalization


def _gate(x, w1, b1, w2, b2, middle=tf.nn.silu, last=tf.sigmoid):
    return last(middle(tf.reduce_mean(x, (1, 2)) @ w1 + b1) @ w2 + b2)


def _excite(x, *weights, **change):
    return x * _gate(x, *weights, **change)[:, None, None, :]


WRONG.add("squeeze_excite", _excite, "Use the ReLU of the original paper.", middle=tf.nn.relu)
WRONG.add("squeeze_excite", _excite, "Leave the first activation out.", middle=tf.identity)
WRONG.add("squeeze_excite", _excite, "Let the channels compete in a softmax.", last=tf.nn.softmax)


@WRONG("squeeze_excite")
def gate_only(x, w1, b1, w2, b2):
    """Return the gate (B, C) without multiplying."""
    return _gate(x, w1, b1, w2, b2)


@WRONG("squeeze_excite")
def gate_batch_mean(x, w1, b1, w2, b2):
    """Average over the batch too; right for one picture."""
    s = tf.reduce_mean(x, (0, 1, 2))[None]
    return x * tf.sigmoid(tf.nn.silu(s @ w1 + b1) @ w2 + b2)[:, None, None, :]


@WRONG("squeeze_excite")
def gate_max(x, w1, b1, w2, b2):
    """Squeeze with the maximum."""
    s = tf.reduce_max(x, (1, 2))
    return x * tf.sigmoid(tf.nn.silu(s @ w1 + b1) @ w2 + b2)[:, None, None, :]


@WRONG("squeeze_excite")
def gate_added(x, w1, b1, w2, b2):
    """Add the gate."""
    return x + _gate(x, w1, b1, w2, b2)[:, None, None, :]


@WRONG("squeeze_excite")
def gate_identity(x, w1, b1, w2, b2):
    """Return the input."""
    return x


RIGHT("squeeze_excite")(tf.function(_excite))


@RIGHT("squeeze_excite")
def gate_numpy(x, w1, b1, w2, b2):
    """NumPy from the sum over pixels, einsum."""
    x, w1, b1, w2, b2 = (np.asarray(v) for v in (x, w1, b1, w2, b2))
    z = np.einsum("bhwc,cr->br", x, w1) / (x.shape[1] * x.shape[2]) + b1
    z = z / (1 + np.exp(-z))
    return np.einsum("bhwc,bc->bhwc", x, 1 / (1 + np.exp(-(z @ w2 + b2))))


@RIGHT("squeeze_excite")
def gate_layers(x, w1, b1, w2, b2):
    """1x1 convolutions of Keras on the pooled map, as EfficientNet has them."""
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    for w, b, activation in ((w1, b1, "swish"), (w2, b2, "sigmoid")):
        layer = layers.Conv2D(w.shape[1], 1, activation=activation)
        layer.build(s.shape)
        layer.set_weights([np.reshape(w, (1, 1, *w.shape)), b])
        s = layer(s)
    return layers.multiply([s, tf.convert_to_tensor(x)])


@WRONG("squeeze_excite")
def gate_in_place(x, w1, b1, w2, b2):
    """Multiply into the given array."""
    y = _excite(x, w1, b1, w2, b2)
    if isinstance(x, np.ndarray):
        x[:] = y
    return y


def _block(x, weights, stride, **change):
    eps, act = change.get("eps", 0.001), change.get("act", tf.nn.silu)

    def norm(h, gamma, beta, mean, variance):
        return gamma * (h - mean) / tf.sqrt(variance + eps) + beta

    h = x
    if "expand" in weights and not change.get("narrow"):
        kernel, *rest = weights["expand"]
        h = act(norm(tf.nn.conv2d(h, kernel, 1, "SAME"), *rest))
    kernel, *rest = weights["depthwise"]
    h = tf.nn.depthwise_conv2d(h, kernel, (1, stride, stride, 1), change.get("padding", "SAME"))
    h = act(norm(h, *rest))
    if not change.get("no_gate"):
        h = h * _gate(h, *weights["se"])[:, None, None, :]
    kernel, *rest = weights["project"]
    h = norm(tf.nn.conv2d(h, kernel, 1, "SAME"), *rest)
    if change.get("last"):
        h = act(h)
    shortcut = stride == 1 and h.shape[-1] == x.shape[-1]
    return h + x if change.get("shortcut", shortcut) else h


RIGHT("mbconv")(lambda x, weights, stride: tf.function(_block)(x, weights, stride))


@RIGHT("mbconv")
def block_layers(x, weights, stride):
    """Layers of Keras with the given weights."""

    def run(layer, h, given):
        layer.build(h.shape)
        layer.set_weights(given)
        return layer(h)

    def norm(h, given):
        return run(layers.BatchNormalization(epsilon=0.001), h, given)

    h = tf.convert_to_tensor(x)
    if "expand" in weights:
        kernel, *given = weights["expand"]
        conv = layers.Conv2D(kernel.shape[-1], 1, use_bias=False)
        h = tf.nn.silu(norm(run(conv, h, [kernel]), given))
    kernel, *given = weights["depthwise"]
    conv = layers.DepthwiseConv2D(kernel.shape[0], stride, "same", use_bias=False)
    h = gate_layers(tf.nn.silu(norm(run(conv, h, [kernel]), given)), *weights["se"])
    kernel, *given = weights["project"]
    h = norm(run(layers.Conv2D(kernel.shape[-1], 1, use_bias=False), h, [kernel]), given)
    return layers.add([h, tf.convert_to_tensor(x)]) if stride == 1 and h.shape == x.shape else h


@RIGHT("mbconv")
def block_folded(x, weights, stride):
    """Each normalisation folded into the kernel; a 1x1 convolution is a matrix product."""

    def fold(kernel, gamma, beta, mean, variance, axis=-1):
        scale = gamma / np.sqrt(variance + 0.001)
        shape = [1] * 4
        shape[axis] = -1
        return kernel * scale.reshape(shape), beta - mean * scale

    h = x
    if "expand" in weights:
        kernel, bias = fold(*weights["expand"])
        h = tf.nn.silu(h @ kernel[0, 0] + bias)
    kernel, bias = fold(*weights["depthwise"], axis=2)
    h = tf.nn.silu(tf.nn.depthwise_conv2d(h, kernel, (1, stride, stride, 1), "SAME") + bias)
    kernel, bias = fold(*weights["project"])
    h = gate_numpy(h, *weights["se"]) @ kernel[0, 0] + bias
    return h + x if stride == 1 and h.shape[-1] == x.shape[-1] else h


WRONG.add("mbconv", _block, "Never add the input.", shortcut=False)


@WRONG("mbconv")
def block_stride_shortcut(x, weights, stride):
    """Add the input whenever the stride is 1, whatever the channels."""
    return _block(x, weights, stride, shortcut=stride == 1)


@WRONG("mbconv")
def block_channel_shortcut(x, weights, stride):
    """Add the input whenever the channels agree, whatever the stride."""
    return _block(x, weights, stride, shortcut=weights["project"][0].shape[-1] == x.shape[-1])


@WRONG("mbconv")
def block_shape_shortcut(x, weights, stride):
    """Add the input whenever the shapes agree, which they do for one pixel and stride 2."""
    h = _block(x, weights, stride, shortcut=False)
    return h + x if tuple(h.shape) == x.shape else h


WRONG.add("mbconv", _block, "Leave squeeze-and-excitation out.", no_gate=True)
WRONG.add("mbconv", _block, "Activate after the projection.", last=True)
WRONG.add("mbconv", _block, "Use ReLU6 as in MobileNetV2.", act=tf.nn.relu6)
WRONG.add("mbconv", _block, "Add 1 instead of 0.001 to the variance.", eps=1.0)
WRONG.add("mbconv", _block, "Add nothing to the variance.", eps=0.0)
WRONG.add("mbconv", _block, "Add 0.00001 to the variance, as PyTorch does.", eps=1e-5)
WRONG.add("mbconv", _block, "Do not pad.", padding="VALID")


@WRONG("mbconv")
def block_must_expand(x, weights, stride):
    """Require the expansion that block 1a lacks."""
    weights["expand"]
    return _block(x, weights, stride)


@WRONG("mbconv")
def block_pad_front(x, weights, stride):
    """Pad the same on both sides, which is not SAME for an even size and stride 2."""
    h = x
    if "expand" in weights:
        kernel, gamma, beta, mean, variance = weights["expand"]
        h = tf.nn.conv2d(h, kernel, 1, "SAME")
        h = tf.nn.silu(gamma * (h - mean) / tf.sqrt(variance + 0.001) + beta)
    half = weights["depthwise"][0].shape[0] // 2
    h = tf.pad(h, [[0, 0], [half, half], [half, half], [0, 0]])
    rest = {key: value for key, value in weights.items() if key != "expand"}
    out = _block(h, rest, stride, padding="VALID", shortcut=False)
    return out + x if stride == 1 and out.shape[-1] == x.shape[-1] else out


def _classifier(backbone, classes, augment, dropout, frozen=True, pool=layers.GlobalAveragePooling2D, **head):
    backbone.trainable = not frozen
    inputs = keras.Input(backbone.input_shape[1:])
    h = layers.Dropout(dropout)(pool()(backbone(augment(inputs))))
    return keras.Model(inputs, layers.Dense(classes, **head)(h))


RIGHT("build_classifier")(_classifier)


@RIGHT("build_classifier")
def classifier_sequential(backbone, classes, augment, dropout):
    """A Sequential model; the layers of the backbone frozen one by one."""
    for layer in backbone.layers:
        layer.trainable = False
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(dropout), layers.Dense(classes)]
    return keras.Sequential([keras.Input(backbone.input_shape[1:]), augment, backbone, *head])


@RIGHT("build_classifier")
def classifier_ops(backbone, classes, augment, dropout):
    """The mean by keras.ops, the backbone called for inference."""
    backbone.trainable = False
    inputs = keras.Input(backbone.input_shape[1:])
    h = keras.ops.mean(backbone(augment(inputs), training=False), axis=(1, 2))
    return keras.Model(inputs, layers.Dense(classes)(layers.Dropout(dropout)(h)))


WRONG.add("build_classifier", _classifier, "Forget to freeze the backbone.", frozen=False)
WRONG.add("build_classifier", _classifier, "Return probabilities.", activation="softmax")
WRONG.add("build_classifier", _classifier, "Pool with the maximum.", pool=layers.GlobalMaxPooling2D)
WRONG.add("build_classifier", _classifier, "Flatten instead of averaging.", pool=layers.Flatten)


@WRONG("build_classifier")
def classifier_no_dropout(backbone, classes, augment, dropout):
    """Leave dropout out."""
    return _classifier(backbone, classes, augment, 0.0)


@WRONG("build_classifier")
def classifier_half(backbone, classes, augment, dropout):
    """Drop the rate that should be kept; right for 0.5."""
    return _classifier(backbone, classes, augment, 1 - dropout)


@WRONG("build_classifier")
def classifier_no_augment(backbone, classes, augment, dropout):
    """Leave augmentation out."""
    return _classifier(backbone, classes, lambda x: x, dropout)


@WRONG("build_classifier")
def classifier_always_augments(backbone, classes, augment, dropout):
    """Augment at inference too."""
    return _classifier(backbone, classes, lambda x: augment(x, training=True), dropout)


@WRONG("build_classifier")
def classifier_scaled(backbone, classes, augment, dropout):
    """Divide by 255 although the backbone does what it needs."""
    return _classifier(backbone, classes, lambda x: augment(x) / 255.0, dropout)


@WRONG("build_classifier")
def classifier_norm_on(backbone, classes, augment, dropout):
    """Freeze all layers but let batch normalization use the batch."""
    model = _classifier(backbone, classes, augment, dropout)
    for layer in backbone.layers:
        if isinstance(layer, BN):
            layer.trainable = True
            layer.gamma.trainable = layer.beta.trainable = False
    return model


@WRONG("build_classifier")
def classifier_five(backbone, classes, augment, dropout):
    """Always five classes."""
    return _classifier(backbone, 5, augment, dropout)


def _count(backbone):
    return sum(int(np.prod(w.shape)) for w in backbone.trainable_weights)


@RIGHT("unfreeze_top")
def unfreeze_thawed(backbone, prefixes):
    """Freeze everything, then thaw what is named."""
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = False
    for name in prefixes:
        for layer in backbone.layers:
            if layer.name[: len(name)] == name and not isinstance(layer, BN):
                layer.trainable = True
    return sum(keras.ops.size(w) for w in backbone.trainable_variables)


@RIGHT("unfreeze_top")
def unfreeze_returns_early(backbone, prefixes):
    """The empty tuple apart; the count from the layers; a NumPy integer."""
    backbone.trainable = bool(prefixes)
    count = np.int64(0)
    for layer in backbone.layers if prefixes else []:
        named = any(layer.name.startswith(name) for name in prefixes)
        layer.trainable = named and layer.__class__.__name__ != "BatchNormalization"
        count += sum(w.numpy().size for w in layer.trainable_weights)
    return count


@WRONG("unfreeze_top")
def unfreeze_norms(backbone, prefixes):
    """Unfreeze batch normalization too."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes)
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_norms_by_name(backbone, prefixes):
    """Tell batch normalization by its name."""
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not layer.name.endswith("bn")
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_all(backbone, prefixes):
    """Unfreeze everything but batch normalization."""
    for layer in backbone.layers:
        layer.trainable = not isinstance(layer, BN)
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_stale(backbone, prefixes):
    """Do not freeze again what was unfrozen before."""
    for layer in backbone.layers:
        if layer.name.startswith(prefixes) and not isinstance(layer, BN):
            layer.trainable = True
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_order(backbone, prefixes):
    """Set the outer model last, which overwrites the layers."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not isinstance(layer, BN)
    backbone.trainable = bool(prefixes)
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_inside(backbone, prefixes):
    """Look for the letters anywhere in the name."""
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = any(p in layer.name for p in prefixes) and not isinstance(layer, BN)
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_reversed(backbone, prefixes):
    """Freeze the named layers and unfreeze the others."""
    for layer in backbone.layers:
        layer.trainable = not layer.name.startswith(prefixes) and not isinstance(layer, BN)
    return _count(backbone)


@WRONG("unfreeze_top")
def unfreeze_tensors(backbone, prefixes):
    """Count the tensors instead of their elements."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not isinstance(layer, BN)
    return len(backbone.trainable_weights)


@WRONG("unfreeze_top")
def unfreeze_first_only(backbone, prefixes):
    """Use the first prefix only."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes[:1]) and not isinstance(layer, BN)
    return _count(backbone)


def _stages(model, backbone, train, val, prefixes, epochs, rates, **change):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=change.get("from_logits", True))
    make, histories = change.get("optimizer", optimizers.Adam), []
    for stage, (names, count, rate) in enumerate(zip(((), prefixes), epochs, rates, strict=True)):
        for layer in backbone.layers:
            norm = isinstance(layer, BN) and not change.get("norms")
            layer.trainable = (
                layer.name.startswith(change.get("first", names) if not stage else names) and not norm
            )
        if not stage or not change.get("once"):
            model.compile(make(rate), loss, metrics=["accuracy"])
        model.optimizer.learning_rate = rates[0] if change.get("once") == "same rate" else rate
        data = {} if change.get("no_val") else {"validation_data": val}
        histories.append(model.fit(train, epochs=count, shuffle=False, verbose=0, **data).history)
    return histories


RIGHT("fit_two_stages")(_stages)


@RIGHT("fit_two_stages")
def stages_by_epoch(model, backbone, train, val, prefixes, epochs, rates):
    """One call of fit an epoch, the histories joined."""
    joined = ({}, {})
    for log, names, count, rate in zip(joined, ((), prefixes), epochs, rates, strict=True):
        unfreeze_thawed(backbone, names)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizers.Adam(learning_rate=rate), loss, metrics=["accuracy"])
        for _ in range(count):
            for key, values in model.fit(train, validation_data=val, verbose=0).history.items():
                log.setdefault(key, []).extend(values)
    return joined


WRONG.add("fit_two_stages", _stages, "Compile only once.", once="same rate")
WRONG.add("fit_two_stages", _stages, "Assign the second rate without compiling again.", once=True)
WRONG.add("fit_two_stages", _stages, "Take the logits for probabilities.", from_logits=False)
WRONG.add("fit_two_stages", _stages, "Unfreeze batch normalization in stage two.", norms=True)


@WRONG("fit_two_stages")
def stages_together(model, backbone, train, val, prefixes, epochs, rates):
    """Unfreeze the blocks from the beginning."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, first=prefixes)


@WRONG("fit_two_stages")
def stages_swapped(model, backbone, train, val, prefixes, epochs, rates):
    """Swap the two rates."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates[::-1])


@WRONG("fit_two_stages")
def stages_one_rate(model, backbone, train, val, prefixes, epochs, rates):
    """Keep the first rate."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates[:1] * 2)


WRONG.add("fit_two_stages", _stages, "Use another optimizer.", optimizer=keras.optimizers.SGD)
WRONG.add("fit_two_stages", _stages, "Do not validate.", no_val=True)


@WRONG("fit_two_stages")
def stages_train_on_val(model, backbone, train, val, prefixes, epochs, rates):
    """Train on the validation set and validate on the training set."""
    return _stages(model, backbone, val, train, prefixes, epochs, rates)


@WRONG("fit_two_stages")
def stages_validate_on_train(model, backbone, train, val, prefixes, epochs, rates):
    """Validate on the training set."""
    return _stages(model, backbone, train, train, prefixes, epochs, rates)


@WRONG("fit_two_stages")
def stages_constant(model, backbone, train, val, prefixes, epochs, rates):
    """Keep the first value of a schedule."""
    rates = tuple(float(rate(0)) if callable(rate) else rate for rate in rates)
    return _stages(model, backbone, train, val, prefixes, epochs, rates)


@WRONG("fit_two_stages")
def stages_trusting(model, backbone, train, val, prefixes, epochs, rates):
    """Trust that the backbone is frozen in stage one."""
    first = tuple(layer.name for layer in backbone.layers if layer.trainable)
    return _stages(model, backbone, train, val, prefixes, epochs, rates, first=first or ("none",))


@WRONG("fit_two_stages")
def stages_last_only(model, backbone, train, val, prefixes, epochs, rates):
    """Return the second history only."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates)[1]


def _diagnose(logits, labels, top, score=None, transpose=False, axis=1, every=False, sign=-1):
    guess, k = logits.argmax(1), logits.shape[1]
    matrix = np.zeros((k, k), int)
    np.add.at(matrix, (labels, guess), 1)
    recall = np.diag(matrix) / np.maximum(matrix.sum(axis=axis), 1)
    p = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    sure = (p / p.sum(1, keepdims=True)).max(1) if score is None else score(logits)
    rows = np.arange(len(labels)) if every else np.flatnonzero(guess != labels)
    chosen = rows[np.argsort(sign * sure[rows], kind="stable")][:top]
    return (matrix.T if transpose else matrix), recall, chosen


RIGHT("diagnose")(_diagnose)


@RIGHT("diagnose")
def diagnose_tensorflow(logits, labels, top):
    """TensorFlow's matrix and top_k, which keeps the order of equal values."""
    guess, classes = tf.argmax(logits, 1), logits.shape[1]
    matrix = tf.math.confusion_matrix(labels, guess, classes)
    recall = tf.math.divide_no_nan(tf.linalg.diag_part(matrix) / 1, tf.reduce_sum(matrix, 1) / 1)
    sure = tf.reduce_max(tf.nn.softmax(tf.cast(logits, tf.float64)), 1)
    wrong = tf.where(guess != labels)[:, 0]
    return (
        matrix,
        recall,
        tf.gather(wrong, tf.math.top_k(tf.gather(sure, wrong), min(top, len(wrong))).indices),
    )


@RIGHT("diagnose")
def diagnose_python(logits, labels, top):
    """Lists; the confidence is 1 over the sum of exp(z - max z)."""
    guess, classes = [int(np.argmax(row)) for row in logits], range(logits.shape[1])
    pairs = list(zip(labels.tolist(), guess, strict=True))
    matrix = [[pairs.count((i, j)) for j in classes] for i in classes]
    recall = [row[i] / sum(row) if sum(row) else 0.0 for i, row in enumerate(matrix)]
    spread = [float(np.exp(row.astype(float) - row.max()).sum()) for row in logits]
    wrong = [n for n, (label, got) in enumerate(pairs) if label != got]
    return matrix, recall, sorted(wrong, key=lambda n: spread[n])[:top]


@WRONG("diagnose")
def diagnose_floats(logits, labels, top):
    """A matrix of floats."""
    matrix, recall, chosen = _diagnose(logits, labels, top)
    return matrix.astype(float), recall, chosen


WRONG.add("diagnose", _diagnose, "Put the predictions into the rows.", transpose=True)
WRONG.add("diagnose", _diagnose, "Divide by the columns, which is precision.", axis=0)
WRONG.add("diagnose", _diagnose, "Order by the largest logit.", score=lambda z: z.max(1))


@WRONG("diagnose")
def diagnose_overflow(logits, labels, top):
    """Let the exponential overflow."""

    def score(z):
        with np.errstate(all="ignore"):
            return (np.exp(z) / np.exp(z).sum(1, keepdims=True)).max(1)

    return _diagnose(logits, labels, top, score=score)


WRONG.add("diagnose", _diagnose, "Return the surest pictures, right ones too.", every=True)
WRONG.add("diagnose", _diagnose, "Return the least sure mistakes first.", sign=1)


@WRONG("diagnose")
def diagnose_no_limit(logits, labels, top):
    """Ignore the limit."""
    return _diagnose(logits, labels, None)


@WRONG("diagnose")
def diagnose_nan(logits, labels, top):
    """Divide by zero for a class without pictures."""
    matrix, _, chosen = _diagnose(logits, labels, top)
    with np.errstate(all="ignore"):
        return matrix, np.diag(matrix) / matrix.sum(1), chosen


@WRONG("diagnose")
def diagnose_lost_counts(logits, labels, top):
    """Add with fancy indices, which counts repeated pairs once."""
    matrix, recall, chosen = _diagnose(logits, labels, top)
    matrix = np.zeros_like(matrix)
    matrix[labels, logits.argmax(1)] += 1
    return matrix, recall, chosen


@WRONG("diagnose")
def diagnose_seen_classes(logits, labels, top):
    """Make the matrix as large as the labels seen."""
    matrix, recall, chosen = _diagnose(logits, labels, top)
    k = labels.max() + 1
    return matrix[:k, :k], recall[:k], chosen


def _colour(paths):
    rows = []
    for path in paths:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3).numpy()
        rows.append(image.mean((0, 1)) / 255)
    return np.stack(rows).astype(np.float32)


@WRONG("predict_flowers")
def flowers_constant(paths):
    """The same class for every picture."""
    return np.tile(4 * np.eye(5, dtype=np.float32)[2], (len(paths), 1))


@WRONG("predict_flowers")
def flowers_random(paths):
    """Logits that have nothing to do with the pictures."""
    return np.random.default_rng(len(paths)).normal(size=(len(paths), 5)).astype(np.float32)


@WRONG("predict_flowers")
def flowers_classes(paths):
    """Return classes instead of logits."""
    return np.zeros(len(paths), int)


@WRONG("predict_flowers")
def flowers_remainder(paths):
    """Lose the last pictures that fill no batch."""
    return flowers_constant(paths)[: len(paths) // 8 * 8]


@WRONG("predict_flowers")
def flowers_colour(paths):
    """Only the mean colour, by a rule made up by hand."""
    red, green, blue = _colour(paths).T
    return np.stack([blue, green, red - green, red + green - blue, red + blue], axis=1)


@WRONG("predict_flowers")
def flowers_thousand(paths):
    """Keep the head of ImageNet."""
    return np.zeros((len(paths), 1000), np.float32)


@WRONG("predict_flowers")
def flowers_order(paths):
    """Decide by the place in the list."""
    return 4 * np.eye(5, dtype=np.float32)[np.arange(len(paths)) * 5 // max(len(paths), 1)]


def _table(paths, labels):
    return {hash(Path(path).read_bytes()): int(label) for path, label in zip(paths, labels, strict=True)}


def _logits(paths, table):
    found = [table.get(hash(Path(path).read_bytes()), 0) for path in paths]
    return 6 * np.eye(5, dtype=np.float32)[found] - 3


@functools.lru_cache(maxsize=1)
def _hidden():
    with unseen.flowers() as (paths, labels):
        return _table(paths, labels)


@functools.lru_cache(maxsize=1)
def _public():
    folders = [data.flowers() / name for name in data.FLOWER_CLASSES]
    paths = [list(folder.glob("*.jpg")) for folder in folders]
    return sum(paths, []), np.repeat(np.arange(5), [len(part) for part in paths])


@RIGHT("predict_flowers")
def flowers_oracle(paths):
    """Stand for a trained model: the grader's own labels."""
    return _logits(paths, _hidden())


@RIGHT("predict_flowers")
def flowers_tensor(paths):
    """Stand for a model that gives a tensor, from batches of three."""
    return tf.concat([tf.constant(flowers_oracle(paths[k : k + 3])) for k in range(0, len(paths), 3)], axis=0)


@WRONG("predict_flowers")
def flowers_probabilities(paths):
    """Return probabilities, every one right."""
    return flowers_oracle(paths) / 6 + 0.5


@WRONG("predict_flowers")
def flowers_looked_up(paths):
    """Look the files up in the public folder."""
    return _logits(paths, _table(*_public()))


@functools.lru_cache(maxsize=1)
def _thumbnails():
    return np.stack([_thumbnail(path) for path in _public()[0]])


def _thumbnail(path):
    image = tf.io.decode_jpeg(Path(path).read_bytes(), channels=3)
    return tf.image.resize(image, (16, 16), method="area").numpy().ravel()


@WRONG("predict_flowers")
def flowers_nearest(paths):
    """Take the label of the most similar public picture, test pictures among them."""
    nearest = [_public()[1][((_thumbnails() - _thumbnail(path)) ** 2).sum(1).argmin()] for path in paths]
    return 6 * np.eye(5, dtype=np.float32)[nearest] - 3
