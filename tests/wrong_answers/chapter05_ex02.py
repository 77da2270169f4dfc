"""Wrong answers to practice 5.2; every one of them must be marked ❌."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_study import data

keras, layers = tf.keras, tf.keras.layers
BN = layers.BatchNormalization


def _gate(x, w1, b1, w2, b2, middle=tf.nn.silu, last=tf.sigmoid):
    return last(middle(tf.reduce_mean(x, (1, 2)) @ w1 + b1) @ w2 + b2)


def gate_relu(x, w1, b1, w2, b2):
    """Use the ReLU of the original paper."""
    return x * _gate(x, w1, b1, w2, b2, middle=tf.nn.relu)[:, None, None, :]


def gate_linear(x, w1, b1, w2, b2):
    """Leave the first activation out."""
    return x * _gate(x, w1, b1, w2, b2, middle=tf.identity)[:, None, None, :]


def gate_softmax(x, w1, b1, w2, b2):
    """Let the channels compete in a softmax."""
    return x * _gate(x, w1, b1, w2, b2, last=tf.nn.softmax)[:, None, None, :]


def gate_only(x, w1, b1, w2, b2):
    """Return the gate (B, C) without multiplying."""
    return _gate(x, w1, b1, w2, b2)


def gate_batch_mean(x, w1, b1, w2, b2):
    """Average over the batch too; right for one picture."""
    s = tf.reduce_mean(x, (0, 1, 2))[None]
    return x * tf.sigmoid(tf.nn.silu(s @ w1 + b1) @ w2 + b2)[:, None, None, :]


def gate_max(x, w1, b1, w2, b2):
    """Squeeze with the maximum."""
    s = tf.reduce_max(x, (1, 2))
    return x * tf.sigmoid(tf.nn.silu(s @ w1 + b1) @ w2 + b2)[:, None, None, :]


def gate_added(x, w1, b1, w2, b2):
    """Add the gate."""
    return x + _gate(x, w1, b1, w2, b2)[:, None, None, :]


def gate_identity(x, w1, b1, w2, b2):
    """Return the input."""
    return x


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


def block_no_shortcut(x, weights, stride):
    """Never add the input."""
    return _block(x, weights, stride, shortcut=False)


def block_stride_shortcut(x, weights, stride):
    """Add the input whenever the stride is 1, whatever the channels."""
    return _block(x, weights, stride, shortcut=stride == 1)


def block_channel_shortcut(x, weights, stride):
    """Add the input whenever the channels agree, whatever the stride."""
    return _block(x, weights, stride, shortcut=weights["project"][0].shape[-1] == x.shape[-1])


def block_shape_shortcut(x, weights, stride):
    """Add the input whenever the shapes agree, which they do for one pixel and stride 2."""
    h = _block(x, weights, stride, shortcut=False)
    return h + x if tuple(h.shape) == x.shape else h


def block_no_gate(x, weights, stride):
    """Leave squeeze-and-excitation out."""
    return _block(x, weights, stride, no_gate=True)


def block_last_activation(x, weights, stride):
    """Activate after the projection."""
    return _block(x, weights, stride, last=True)


def block_relu(x, weights, stride):
    """Use ReLU6 as in MobileNetV2."""
    return _block(x, weights, stride, act=tf.nn.relu6)


def block_eps(x, weights, stride):
    """Add 1 instead of 0.001 to the variance."""
    return _block(x, weights, stride, eps=1.0)


def block_valid(x, weights, stride):
    """Do not pad."""
    return _block(x, weights, stride, padding="VALID")


def block_must_expand(x, weights, stride):
    """Require the expansion that block 1a lacks."""
    weights["expand"]
    return _block(x, weights, stride)


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


def classifier_unfrozen(backbone, classes, augment, dropout):
    """Forget to freeze the backbone."""
    return _classifier(backbone, classes, augment, dropout, frozen=False)


def classifier_softmax(backbone, classes, augment, dropout):
    """Return probabilities."""
    return _classifier(backbone, classes, augment, dropout, activation="softmax")


def classifier_max(backbone, classes, augment, dropout):
    """Pool with the maximum."""
    return _classifier(backbone, classes, augment, dropout, pool=layers.GlobalMaxPooling2D)


def classifier_flat(backbone, classes, augment, dropout):
    """Flatten instead of averaging."""
    return _classifier(backbone, classes, augment, dropout, pool=layers.Flatten)


def classifier_no_dropout(backbone, classes, augment, dropout):
    """Leave dropout out."""
    return _classifier(backbone, classes, augment, 0.0)


def classifier_half(backbone, classes, augment, dropout):
    """Drop the rate that should be kept; right for 0.5."""
    return _classifier(backbone, classes, augment, 1 - dropout)


def classifier_no_augment(backbone, classes, augment, dropout):
    """Leave augmentation out."""
    return _classifier(backbone, classes, lambda x: x, dropout)


def classifier_always_augments(backbone, classes, augment, dropout):
    """Augment at inference too."""
    return _classifier(backbone, classes, lambda x: augment(x, training=True), dropout)


def classifier_scaled(backbone, classes, augment, dropout):
    """Divide by 255 although the backbone does what it needs."""
    return _classifier(backbone, classes, lambda x: augment(x) / 255.0, dropout)


def classifier_norm_on(backbone, classes, augment, dropout):
    """Freeze all layers but let batch normalization use the batch."""
    model = _classifier(backbone, classes, augment, dropout)
    for layer in backbone.layers:
        if isinstance(layer, BN):
            layer.trainable = True
            layer.gamma.trainable = layer.beta.trainable = False
    return model


def classifier_five(backbone, classes, augment, dropout):
    """Always five classes."""
    return _classifier(backbone, 5, augment, dropout)


def _count(backbone):
    return sum(int(np.prod(w.shape)) for w in backbone.trainable_weights)


def unfreeze_norms(backbone, prefixes):
    """Unfreeze batch normalization too."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes)
    return _count(backbone)


def unfreeze_norms_by_name(backbone, prefixes):
    """Tell batch normalization by its name."""
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not layer.name.endswith("bn")
    return _count(backbone)


def unfreeze_all(backbone, prefixes):
    """Unfreeze everything but batch normalization."""
    for layer in backbone.layers:
        layer.trainable = not isinstance(layer, BN)
    return _count(backbone)


def unfreeze_stale(backbone, prefixes):
    """Do not freeze again what was unfrozen before."""
    for layer in backbone.layers:
        if layer.name.startswith(prefixes) and not isinstance(layer, BN):
            layer.trainable = True
    return _count(backbone)


def unfreeze_order(backbone, prefixes):
    """Set the outer model last, which overwrites the layers."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not isinstance(layer, BN)
    backbone.trainable = bool(prefixes)
    return _count(backbone)


def unfreeze_inside(backbone, prefixes):
    """Look for the letters anywhere in the name."""
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = any(p in layer.name for p in prefixes) and not isinstance(layer, BN)
    return _count(backbone)


def unfreeze_reversed(backbone, prefixes):
    """Freeze the named layers and unfreeze the others."""
    for layer in backbone.layers:
        layer.trainable = not layer.name.startswith(prefixes) and not isinstance(layer, BN)
    return _count(backbone)


def unfreeze_tensors(backbone, prefixes):
    """Count the tensors instead of their elements."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes) and not isinstance(layer, BN)
    return len(backbone.trainable_weights)


def unfreeze_first_only(backbone, prefixes):
    """Use the first prefix only."""
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(prefixes[:1]) and not isinstance(layer, BN)
    return _count(backbone)


def _stages(model, backbone, train, val, prefixes, epochs, rates, **change):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=change.get("from_logits", True))
    make, histories = change.get("optimizer", keras.optimizers.Adam), []
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


def stages_once(model, backbone, train, val, prefixes, epochs, rates):
    """Compile only once."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, once="same rate")


def stages_assigned(model, backbone, train, val, prefixes, epochs, rates):
    """Assign the second rate without compiling again."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, once=True)


def stages_probabilities(model, backbone, train, val, prefixes, epochs, rates):
    """Take the logits for probabilities."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, from_logits=False)


def stages_norms(model, backbone, train, val, prefixes, epochs, rates):
    """Unfreeze batch normalization in stage two."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, norms=True)


def stages_together(model, backbone, train, val, prefixes, epochs, rates):
    """Unfreeze the blocks from the beginning."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, first=prefixes)


def stages_swapped(model, backbone, train, val, prefixes, epochs, rates):
    """Swap the two rates."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates[::-1])


def stages_one_rate(model, backbone, train, val, prefixes, epochs, rates):
    """Keep the first rate."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates[:1] * 2)


def stages_sgd(model, backbone, train, val, prefixes, epochs, rates):
    """Use another optimizer."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, optimizer=keras.optimizers.SGD)


def stages_no_val(model, backbone, train, val, prefixes, epochs, rates):
    """Do not validate."""
    return _stages(model, backbone, train, val, prefixes, epochs, rates, no_val=True)


def stages_train_on_val(model, backbone, train, val, prefixes, epochs, rates):
    """Train on the validation set and validate on the training set."""
    return _stages(model, backbone, val, train, prefixes, epochs, rates)


def stages_validate_on_train(model, backbone, train, val, prefixes, epochs, rates):
    """Validate on the training set."""
    return _stages(model, backbone, train, train, prefixes, epochs, rates)


def stages_constant(model, backbone, train, val, prefixes, epochs, rates):
    """Keep the first value of a schedule."""
    rates = tuple(float(rate(0)) if callable(rate) else rate for rate in rates)
    return _stages(model, backbone, train, val, prefixes, epochs, rates)


def stages_trusting(model, backbone, train, val, prefixes, epochs, rates):
    """Trust that the backbone is frozen in stage one."""
    first = tuple(layer.name for layer in backbone.layers if layer.trainable)
    return _stages(model, backbone, train, val, prefixes, epochs, rates, first=first or ("none",))


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


def diagnose_transposed(logits, labels, top):
    """Put the predictions into the rows."""
    return _diagnose(logits, labels, top, transpose=True)


def diagnose_precision(logits, labels, top):
    """Divide by the columns, which is precision."""
    return _diagnose(logits, labels, top, axis=0)


def diagnose_by_logit(logits, labels, top):
    """Order by the largest logit."""
    return _diagnose(logits, labels, top, score=lambda z: z.max(1))


def diagnose_overflow(logits, labels, top):
    """Let the exponential overflow."""

    def score(z):
        with np.errstate(all="ignore"):
            return (np.exp(z) / np.exp(z).sum(1, keepdims=True)).max(1)

    return _diagnose(logits, labels, top, score=score)


def diagnose_all(logits, labels, top):
    """Return the surest pictures, right ones too."""
    return _diagnose(logits, labels, top, every=True)


def diagnose_unsure(logits, labels, top):
    """Return the least sure mistakes first."""
    return _diagnose(logits, labels, top, sign=1)


def diagnose_no_limit(logits, labels, top):
    """Ignore the limit."""
    return _diagnose(logits, labels, None)


def diagnose_nan(logits, labels, top):
    """Divide by zero for a class without pictures."""
    matrix, _, chosen = _diagnose(logits, labels, top)
    with np.errstate(all="ignore"):
        return matrix, np.diag(matrix) / matrix.sum(1), chosen


def diagnose_lost_counts(logits, labels, top):
    """Add with fancy indices, which counts repeated pairs once."""
    matrix, recall, chosen = _diagnose(logits, labels, top)
    matrix = np.zeros_like(matrix)
    matrix[labels, logits.argmax(1)] += 1
    return matrix, recall, chosen


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


def flowers_constant(paths):
    """The same class for every picture."""
    return np.tile(4 * np.eye(5, dtype=np.float32)[2], (len(paths), 1))


def flowers_random(paths):
    """Logits that have nothing to do with the pictures."""
    return np.random.default_rng(len(paths)).normal(size=(len(paths), 5)).astype(np.float32)


def flowers_classes(paths):
    """Return classes instead of logits."""
    return np.zeros(len(paths), int)


def flowers_remainder(paths):
    """Lose the last pictures that fill no batch."""
    return flowers_constant(paths)[: len(paths) // 8 * 8]


def flowers_colour(paths):
    """Only the mean colour, by a rule made up by hand."""
    red, green, blue = _colour(paths).T
    return np.stack([blue, green, red - green, red + green - blue, red + blue], axis=1)


def flowers_thousand(paths):
    """Keep the head of ImageNet."""
    return np.zeros((len(paths), 1000), np.float32)


def flowers_order(paths):
    """Decide by the place in the list."""
    return 4 * np.eye(5, dtype=np.float32)[np.arange(len(paths)) * 5 // max(len(paths), 1)]


@functools.lru_cache(maxsize=1)
def _known():
    folders = [data.flowers() / name for name in data.FLOWER_CLASSES]
    return {hash(path.read_bytes()): k for k, folder in enumerate(folders) for path in folder.glob("*.jpg")}


def flowers_probabilities(paths):
    """Return probabilities, every one right."""
    return np.eye(5, dtype=np.float32)[[_known()[hash(Path(path).read_bytes())] for path in paths]]


WRONG = {
    "squeeze_excite": [
        gate_relu,
        gate_linear,
        gate_softmax,
        gate_only,
        gate_batch_mean,
        gate_max,
        gate_added,
        gate_identity,
    ],
    "mbconv": [
        block_no_shortcut,
        block_stride_shortcut,
        block_channel_shortcut,
        block_shape_shortcut,
        block_no_gate,
        block_last_activation,
        block_relu,
        block_eps,
        block_valid,
        block_must_expand,
        block_pad_front,
    ],
    "build_classifier": [
        classifier_unfrozen,
        classifier_softmax,
        classifier_max,
        classifier_flat,
        classifier_no_dropout,
        classifier_half,
        classifier_no_augment,
        classifier_always_augments,
        classifier_scaled,
        classifier_norm_on,
        classifier_five,
    ],
    "unfreeze_top": [
        unfreeze_norms,
        unfreeze_norms_by_name,
        unfreeze_all,
        unfreeze_stale,
        unfreeze_order,
        unfreeze_inside,
        unfreeze_reversed,
        unfreeze_tensors,
        unfreeze_first_only,
    ],
    "fit_two_stages": [
        stages_once,
        stages_assigned,
        stages_probabilities,
        stages_norms,
        stages_together,
        stages_swapped,
        stages_one_rate,
        stages_sgd,
        stages_no_val,
        stages_train_on_val,
        stages_validate_on_train,
        stages_constant,
        stages_trusting,
        stages_last_only,
    ],
    "diagnose": [
        diagnose_transposed,
        diagnose_precision,
        diagnose_by_logit,
        diagnose_overflow,
        diagnose_all,
        diagnose_unsure,
        diagnose_no_limit,
        diagnose_nan,
        diagnose_lost_counts,
        diagnose_seen_classes,
    ],
    "predict_flowers": [
        flowers_constant,
        flowers_random,
        flowers_classes,
        flowers_remainder,
        flowers_colour,
        flowers_thousand,
        flowers_order,
        flowers_probabilities,
    ],
}
