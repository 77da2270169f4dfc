"""Right and wrong answers to practice 15.1."""

import zlib

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction.text import CountVectorizer

from answers import Answers
from tf_study import optimizers

RIGHT, WRONG = Answers(), Answers()


# -- bt_loss -------------------------------------------------------------------------------------------


@RIGHT("bt_loss")
def loss_by_log_sigmoid(chosen, rejected, weights, center):
    """The logarithm of the sigmoid, as in the paper."""
    fit = -tf.math.log_sigmoid(chosen - rejected)
    return tf.reduce_mean(weights * fit + center * tf.square(chosen + rejected))


@RIGHT("bt_loss")
def loss_by_cross_entropy(chosen, rejected, weights, center):
    """A classifier of the difference whose label is always 1."""
    z = chosen - rejected
    fit = tf.nn.sigmoid_cross_entropy_with_logits(tf.ones_like(z), z)
    n = tf.cast(tf.size(z), z.dtype)
    return tf.tensordot(weights, fit, 1) / n + center * tf.reduce_sum((chosen + rejected) ** 2) / n


@RIGHT("bt_loss")
def loss_by_keras(chosen, rejected, weights, center):
    """A softmax over the two rewards in keras.ops."""
    both = keras.ops.stack([chosen, rejected], axis=-1)
    fit = -keras.ops.log_softmax(both, axis=-1)[:, 0]
    return keras.ops.mean(weights * fit) + center * keras.ops.mean(keras.ops.sum(both, -1) ** 2)


def _loss(chosen, rejected, weights, center, sign=1, reduce=tf.reduce_mean, middle="sum", weighted=True):
    fit = tf.nn.softplus(sign * (rejected - chosen))
    fit = reduce(weights * fit if weighted else fit)
    squares = {
        "sum": tf.reduce_mean((chosen + rejected) ** 2),
        "gap": tf.reduce_mean((chosen - rejected) ** 2),
        "late": tf.reduce_mean(chosen + rejected) ** 2,
        "weighted": tf.reduce_mean(weights * (chosen + rejected) ** 2),
        "half": tf.reduce_mean(((chosen + rejected) / 2) ** 2),
        "none": 0.0,
    }
    return fit + center * squares[middle]


WRONG.add("bt_loss", _loss, "the other sign", sign=-1)
WRONG.add("bt_loss", _loss, "a sum", reduce=tf.reduce_sum)
WRONG.add("bt_loss", _loss, "no reduction", reduce=tf.identity)
WRONG.add("bt_loss", _loss, "weights forgotten", weighted=False)
WRONG.add("bt_loss", _loss, "the centre of the gap", middle="gap")
WRONG.add("bt_loss", _loss, "squared after the mean", middle="late")
WRONG.add("bt_loss", _loss, "a weighted centre", middle="weighted")
WRONG.add("bt_loss", _loss, "the middle of the two", middle="half")
WRONG.add("bt_loss", _loss, "no centre", middle="none")


@WRONG("bt_loss")
def loss_overflowing(chosen, rejected, weights, center):
    """The logarithm of a sigmoid that is 0 at -1000."""
    p = tf.sigmoid(chosen - rejected)
    return tf.reduce_mean(-weights * tf.math.log(p)) + center * tf.reduce_mean((chosen + rejected) ** 2)


@WRONG("bt_loss")
def loss_clipped(chosen, rejected, weights, center):
    """An epsilon in the logarithm: finite, but neither the value nor the gradient is right."""
    p = tf.sigmoid(chosen - rejected)
    return tf.reduce_mean(-weights * tf.math.log(p + 1e-7)) + center * tf.reduce_mean(
        (chosen + rejected) ** 2
    )


@WRONG("bt_loss")
def loss_of_two_classes(chosen, rejected, weights, center):
    """Each reward classified by itself."""
    fit = tf.nn.softplus(-chosen) + tf.nn.softplus(rejected)
    return tf.reduce_mean(weights * fit) + center * tf.reduce_mean((chosen + rejected) ** 2)


@WRONG("bt_loss")
def loss_of_centred_batches(chosen, rejected, weights, center):
    """The batch mean taken from each side by itself."""
    own = chosen - tf.reduce_mean(chosen), rejected - tf.reduce_mean(rejected)
    return _loss(*own, weights, center)


@WRONG("bt_loss")
def loss_divided_by_weights(chosen, rejected, weights, center):
    """The weighted mean."""
    fit = tf.reduce_sum(weights * tf.nn.softplus(rejected - chosen)) / tf.reduce_sum(weights)
    return fit + center * tf.reduce_mean((chosen + rejected) ** 2)


@WRONG("bt_loss")
def loss_in_numpy(chosen, rejected, weights, center):
    """The right number without a gradient."""
    c, r, w = (np.asarray(part) for part in (chosen, rejected, weights))
    return tf.constant(np.mean(w * np.logaddexp(0, r - c)) + center * np.mean((c + r) ** 2))


@WRONG("bt_loss")
def loss_of_half_a_gradient(chosen, rejected, weights, center):
    """No gradient for the worse answer."""
    return _loss(chosen, tf.stop_gradient(rejected), weights, center)


# -- features ------------------------------------------------------------------------------------------


def _features(texts, buckets, pad=" ", longest=3, shortest=1, damp=np.log1p, size=np.linalg.norm, words=str.split,
              code=lambda gram: zlib.crc32(gram.encode()), salted=False):  # fmt: skip
    x = np.zeros((len(texts), buckets), np.float32)
    for row, text in zip(x, texts, strict=True):
        for word in words(text):
            word = pad + word + pad
            for k in range(shortest, longest + 1):
                for i in range(len(word) - k + 1):
                    row[code(word[i : i + k]) % buckets] += 1
        row[:] = damp(row)
        row /= max(size(row), 1e-9)
    return x


RIGHT("features")(_features)


@RIGHT("features")
def features_by_sklearn(texts, buckets):
    """scikit-learn's analyzer of characters inside words, and bincount."""
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3), lowercase=False).build_analyzer()
    places = [[zlib.crc32(gram.encode()) % buckets for gram in grams(text)] for text in texts]
    counts = np.array([np.bincount(np.array(row, int), minlength=buckets) for row in places])
    logs = np.log(1 + counts)
    sizes = np.sqrt((logs**2).sum(1, keepdims=True))
    return np.divide(logs, sizes, out=np.zeros_like(logs), where=sizes > 0)


@RIGHT("features")
def features_by_keras(texts, buckets):
    """Slices by zip; np.add.at over all texts; the norm by TensorFlow."""
    rows, places = [], []
    for row, text in enumerate(texts):
        words = [f" {word} " for word in text.split()]
        for k in range(3):
            grams = [
                "".join(part)
                for word in words
                for part in zip(*(word[j:] for j in range(k + 1)), strict=False)
            ]
            rows += [row] * len(grams)
            places += [zlib.crc32(gram.encode()) % buckets for gram in grams]
    x = np.zeros((len(texts), buckets), np.float32)
    np.add.at(x, (np.array(rows, int), np.array(places, int)), 1)
    return tf.math.l2_normalize(tf.math.log1p(x), axis=1)


WRONG.add("features", _features, "no blanks around", pad="")
WRONG.add("features", _features, "up to two", longest=2)
WRONG.add("features", _features, "up to four", longest=4)
WRONG.add("features", _features, "from two", shortest=2)
WRONG.add("features", _features, "counts", damp=lambda x: x)
WRONG.add("features", _features, "presence", damp=np.sign)
WRONG.add("features", _features, "not normalized", size=lambda row: 1.0)
WRONG.add("features", _features, "divided by the sum", size=np.sum)
WRONG.add("features", _features, "across words", words=lambda text: [text])
WRONG.add("features", _features, "Python's hash", code=hash)
WRONG.add("features", _features, "another encoding", code=lambda gram: zlib.crc32(gram.encode("utf-16")))
WRONG.add("features", _features, "split at single blanks", words=lambda text: text.split(" "))
WRONG.add("features", _features, "each gram once in a word", words=lambda text: sorted(set(text.split())))


@WRONG("features")
def features_not_a_number(texts, buckets):
    """A row of zeros divided by its length."""
    x = _features(texts, buckets, size=lambda row: 1.0)
    with np.errstate(invalid="ignore"):
        return x / np.linalg.norm(x, axis=1, keepdims=True)


@WRONG("features")
def features_late_logarithm(texts, buckets):
    """The logarithm of the normalized counts."""
    return np.log1p(_features(texts, buckets, damp=lambda x: x))


@WRONG("features")
def features_of_columns(texts, buckets):
    """Normalized along the texts."""
    x = _features(texts, buckets, size=lambda row: 1.0)
    return x / np.maximum(np.linalg.norm(x, axis=0, keepdims=True), 1e-9)


# -- train_reward --------------------------------------------------------------------------------------


def _linear(width, **options):
    dense = keras.layers.Dense(1, kernel_initializer="zeros", **options)
    return keras.Sequential([keras.Input((width,)), dense])


def _train(chosen, rejected, weights, sign=1, weighted=True, steps=6, apart=False, lr=0.08, output=None):
    model, optimizer = _linear(chosen.shape[1]), optimizers.Adam(lr)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            better, worse = model(chosen)[:, 0], model(rejected)[:, 0]
            gap = sign * (worse - better)
            fit = tf.nn.softplus(-better) + tf.nn.softplus(worse) if apart else tf.nn.softplus(gap)
            loss = tf.reduce_mean(weights * fit if weighted else fit)
        slopes = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(slopes, model.trainable_variables)
    return output(model) if output else model


RIGHT("train_reward")(_train)


@RIGHT("train_reward")
def train_with_fit(chosen, rejected, weights):
    """Keras's fit on a model of pairs; a hidden layer."""
    width = chosen.shape[1]
    reward = keras.Sequential([keras.Input((width,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    first, second = keras.Input((width,)), keras.Input((width,))
    pairs = keras.Model([first, second], reward(first) - reward(second))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # A graph would take longer than the steps.
    pairs.compile(optimizers.Adam(0.1), loss, run_eagerly=True)
    ones = np.ones((len(chosen), 1))
    pairs.fit([chosen, rejected], ones, sample_weight=weights, epochs=2, batch_size=128, verbose=0)
    return reward


@RIGHT("train_reward")
def train_by_ridge(chosen, rejected, weights):
    """The weights in closed form: ridge regression of the gaps onto 1."""
    root = np.sqrt(weights)[:, None]
    gaps = (chosen - rejected) * root
    slope = gaps.T @ np.linalg.solve(gaps @ gaps.T + 0.1 * np.eye(len(gaps)), root[:, 0])
    model = _linear(chosen.shape[1], use_bias=False)
    model.set_weights([3 * slope[:, None]])
    return model


WRONG.add("train_reward", _train, "the worse answer wins", sign=-1)
WRONG.add("train_reward", _train, "weights ignored", weighted=False)
WRONG.add("train_reward", _train, "no step", steps=0)
WRONG.add("train_reward", _train, "a function", output=lambda model: lambda x: model(x))
WRONG.add("train_reward", _train, "probabilities of shape (N,)", output=lambda model: keras.Sequential(
    [keras.Input(model.input_shape[1:]), model, keras.layers.Reshape(())]))  # fmt: skip


@WRONG("train_reward")
def train_towards_constant(chosen, rejected, weights):
    """Both answers of a pair get the label 1: nothing to tell them apart."""
    model = _linear(chosen.shape[1])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(0.04), loss, run_eagerly=True)
    rows = np.concatenate([chosen, rejected])
    model.fit(rows, np.ones((len(rows), 1)), epochs=1, batch_size=128, verbose=0)
    return model


@WRONG("train_reward")
def train_saturated(chosen, rejected, weights):
    """A sigmoid at the end, saturated: all rewards are equal."""
    model = _linear(chosen.shape[1])
    model.set_weights([np.zeros((chosen.shape[1], 1)), np.array([50.0])])
    return keras.Sequential([keras.Input((chosen.shape[1],)), model, keras.layers.Activation("sigmoid")])


@WRONG("train_reward")
def train_by_norms(chosen, rejected, weights):
    """How many n-grams there are: the length and nothing else."""
    model = _linear(chosen.shape[1])
    model.set_weights([np.ones((chosen.shape[1], 1)), np.zeros(1)])
    return model


@WRONG("train_reward")
def train_a_neighbour(chosen, rejected, weights):
    """A reward that depends on the other rows of the batch."""
    model = _train(chosen, rejected, weights)
    x = keras.Input((chosen.shape[1],))
    y = model(x)
    return keras.Model(x, y - keras.ops.mean(y, axis=0, keepdims=True))


# -- pair_accuracy -------------------------------------------------------------------------------------


@RIGHT("pair_accuracy")
def accuracy_by_sign(chosen, rejected):
    """Half of one more than the sign."""
    return (1 + np.sign(chosen - rejected).mean()) / 2


@RIGHT("pair_accuracy")
def accuracy_by_two_counts(chosen, rejected):
    """The mean of the strict and the weak comparison."""
    return float(0.5 * np.mean(chosen > rejected) + 0.5 * np.mean(chosen >= rejected))


@RIGHT("pair_accuracy")
def accuracy_by_loop(chosen, rejected):
    """Points, pair by pair."""
    points = 0.0
    for better, worse in zip(chosen, rejected, strict=True):
        points += 1 if better > worse else 0.5 if better == worse else 0
    return points / len(chosen)


def _accuracy(chosen, rejected, how):
    return how(np.asarray(chosen), np.asarray(rejected))


WRONG.add("pair_accuracy", _accuracy, "ties won", how=lambda c, r: np.mean(c >= r))
WRONG.add("pair_accuracy", _accuracy, "ties lost", how=lambda c, r: np.mean(c > r))
WRONG.add("pair_accuracy", _accuracy, "ties left out", how=lambda c, r: np.mean((c > r)[c != r]) if (c != r).any() else 0.5)  # fmt: skip
WRONG.add("pair_accuracy", _accuracy, "the other way", how=lambda c, r: np.mean(c < r) + np.mean(c == r) / 2)
WRONG.add("pair_accuracy", _accuracy, "mean of the signs", how=lambda c, r: np.mean(np.sign(c - r)))
WRONG.add("pair_accuracy", _accuracy, "mean of the gaps", how=lambda c, r: np.mean(c - r))
WRONG.add("pair_accuracy", _accuracy, "a count", how=lambda c, r: np.sum(c > r) + np.sum(c == r) / 2)
WRONG.add("pair_accuracy", _accuracy, "positive rewards", how=lambda c, r: np.mean(c > 0))
WRONG.add("pair_accuracy", _accuracy, "each pair", how=lambda c, r: (c > r) + (c == r) / 2)
WRONG.add("pair_accuracy", _accuracy, "all against all", how=lambda c, r: np.mean(c[:, None] > r) + np.mean(c[:, None] == r) / 2)  # fmt: skip


# -- ece -----------------------------------------------------------------------------------------------


def _p(z):
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def _ece(margins, flip, bins, turn_p=True, turn_y=True, equal=False, absolute=True, worst=False, confident=False,
         edge=True, half=False):  # fmt: skip
    p = _p(np.where(flip, -margins, margins) if turn_p else margins)
    y = ~flip if turn_y else np.ones(len(p), bool)
    if confident:
        p, y = _p(np.abs(margins)), margins > 0
    scaled = (2 * p - 1 if half else p) * bins
    place = np.minimum(scaled.astype(int), bins - 1) if edge else scaled.astype(int)
    gaps, shares = [], []
    for k in range(bins):
        inside = place == k
        if inside.any():
            gaps.append(p[inside].mean() - y[inside].mean())
            shares.append(inside.mean())
    gaps = np.abs(gaps) if absolute else np.array(gaps)
    return gaps.max() if worst else gaps.mean() if equal else gaps @ shares


RIGHT("ece")(_ece)


@RIGHT("ece")
def ece_by_bincount(margins, flip, bins):
    """Sums of p - y a bin; nothing is divided twice."""
    sign = 1 - 2 * flip.astype(int)
    p = np.asarray(tf.sigmoid(tf.constant(sign * margins, tf.float64)))
    place = np.minimum(np.floor(p * bins), bins - 1).astype(int)
    return np.abs(np.bincount(place, p - (sign > 0), minlength=bins)).sum() / len(p)


@RIGHT("ece")
def ece_by_digitize(margins, flip, bins):
    """Edges, digitize and a loop over the bins that occur."""
    z = [-margin if turned else margin for margin, turned in zip(margins, flip, strict=True)]
    p = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    place = np.digitize(p, np.arange(1, bins) / bins)
    total = 0.0
    for k in set(place.tolist()):
        inside = place == k
        total += inside.sum() * abs(np.mean(p[inside]) - np.mean(~flip[inside]))
    return total / len(p)


WRONG.add("ece", _ece, "nothing turned", turn_p=False, turn_y=False)
WRONG.add("ece", _ece, "only the labels turned", turn_p=False)
WRONG.add("ece", _ece, "only the probabilities turned", turn_y=False)
WRONG.add("ece", _ece, "bins weigh the same", equal=True)
WRONG.add("ece", _ece, "no absolute value", absolute=False)
WRONG.add("ece", _ece, "the largest gap", worst=True)
WRONG.add("ece", _ece, "confidence and correctness", confident=True)
WRONG.add("ece", _ece, "confidence in bins from a half", confident=True, half=True)
WRONG.add("ece", _ece, "a bin too many", edge=False)


@WRONG("ece")
def ece_of_empty_bins(margins, flip, bins):
    """The mean of nothing."""
    p = _p(np.where(flip, -margins, margins))
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = []
    for k in range(bins):
        total = np.maximum((place == k).sum(), 0).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            gaps.append(abs(p[place == k].sum() / total - (~flip)[place == k].sum() / total) * total)
    return np.sum(gaps) / len(p)


@WRONG("ece")
def ece_of_equal_counts(margins, flip, bins):
    """Bins that hold the same number of pairs."""
    p = _p(np.where(flip, -margins, margins))
    parts = np.array_split(np.argsort(p), bins)
    return sum(len(part) * abs(p[part].mean() - (~flip)[part].mean()) for part in parts if len(part)) / len(p)


@WRONG("ece")
def ece_brier(margins, flip, bins):
    """The Brier score."""
    return np.mean((_p(np.where(flip, -margins, margins)) - ~flip) ** 2)


# -- temperature ---------------------------------------------------------------------------------------


def _nll(z):
    return np.mean(np.logaddexp(0, -z))


def _brier(z):
    return np.mean(_p(-z) ** 2)


def _flat(z):
    return -np.mean(z > 0)


def _temperature(margins, low=0.05, high=20.0, count=2000, score=_nll, times=False, result=lambda T: T):
    tried = np.geomspace(low, high, count)
    losses = [score(margins * T if times else margins / T) for T in tried]
    return result(tried[int(np.argmin(losses))])


RIGHT("temperature")(_temperature)


@RIGHT("temperature")
def temperature_by_newton(margins):
    """Bisection of the slope in 1/T, in which the loss is convex."""
    low, high = 1 / 20.0, 1 / 0.05
    for _ in range(100):
        middle = (low + high) / 2
        slope = -np.mean(margins * _p(-middle * margins))
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 2 / (low + high)


@RIGHT("temperature")
def temperature_by_scipy(margins):
    """SciPy's bounded minimum over log T."""
    found = minimize_scalar(
        lambda u: _nll(margins / np.exp(u)),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return tf.constant(np.exp(found.x))


WRONG.add("temperature", _temperature, "multiplied", times=True)
WRONG.add("temperature", _temperature, "the inverse", result=lambda T: 1 / T)
WRONG.add("temperature", _temperature, "by accuracy", score=_flat)
WRONG.add("temperature", _temperature, "by Brier score", score=_brier)
WRONG.add("temperature", _temperature, "not below 1", low=1.0)
WRONG.add("temperature", _temperature, "not above 1", high=1.0)
WRONG.add("temperature", _temperature, "ten temperatures", count=10)
WRONG.add("temperature", _temperature, "beyond the range", low=1e-3, high=1e3, count=6000)
WRONG.add("temperature", _temperature, "its logarithm", result=np.log)
WRONG.add("temperature", _temperature, "the likelihood", score=lambda z: -_nll(z))


@WRONG("temperature")
def temperature_by_spread(margins):
    """The standard deviation."""
    return np.std(margins)


@WRONG("temperature")
def temperature_by_calibration(margins):
    """The temperature of the smallest calibration error, by noise."""
    flip = np.arange(len(margins)) % 2 == 0
    return _temperature(margins, score=lambda z: _ece(z, flip, 10), count=300)


# -- length_control ------------------------------------------------------------------------------------


def _control(c, r, ties=0.5, last=False, pick=np.max, mean=None, invert=False, scale=0.5, tied=1.0, count=None,
             score_only=False, longer=False):  # fmt: skip
    tried = np.arange(min(c.min(), r.min()), max(c.max(), r.max()) + 1)
    near = np.abs(c - tried[:, None]) < np.abs(r - tried[:, None])
    same = np.abs(c - tried[:, None]) == np.abs(r - tried[:, None])
    scores = near.mean(1) + ties * same.mean(1)
    best = np.flatnonzero(np.abs(scores - pick(scores)) < 1e-12)
    center = int(tried[best[-1 if last else 0]]) if mean is None else mean(c)
    gap = np.abs(r - center) - np.abs(c - center)
    gap = c - r if longer else gap
    win, lose = (gap < 0, gap > 0) if invert else (gap > 0, gap < 0)
    total = (win.sum() + lose.sum()) if count is None else count(gap)
    weights = np.full(len(c), tied)
    weights[win] = scale * total / max(1, win.sum())
    weights[lose] = scale * total / max(1, lose.sum())
    if invert:
        weights = np.where(
            gap == 0,
            tied,
            scale * total / np.where(gap > 0, max(1, (gap < 0).sum()), max(1, (gap > 0).sum())),
        )
    return (scores.max() if score_only else center), weights


RIGHT("length_control")(_control)


@RIGHT("length_control")
def control_by_loop(c, r):
    """Python's numbers and max with a key."""
    pairs = list(zip(c.tolist(), r.tolist(), strict=True))

    def points(center):
        return sum(
            1.0 if abs(a - center) < abs(b - center) else 0.5 * (abs(a - center) == abs(b - center))
            for a, b in pairs
        )

    lengths = [length for pair in pairs for length in pair]
    center = max(range(min(lengths), max(lengths) + 1), key=points)
    kinds = [(abs(b - center) > abs(a - center)) - (abs(b - center) < abs(a - center)) for a, b in pairs]
    half = (kinds.count(1) + kinds.count(-1)) / 2
    return center, [1.0 if kind == 0 else half / kinds.count(kind) for kind in kinds]


@RIGHT("length_control")
def control_with_tensorflow(c, r):
    """Signs, and weights by where."""
    best, center = -1.0, 0
    for length in range(int(min(c.min(), r.min())), int(max(c.max(), r.max())) + 1):
        score = float(np.mean(np.sign(np.abs(r - length) - np.abs(c - length))))
        if score > best + 1e-12 or best == -1.0:
            best, center = score, length
    kind = tf.sign(tf.abs(tf.constant(r) - center) - tf.abs(tf.constant(c) - center))
    share = [tf.reduce_sum(tf.cast(kind == k, tf.float64)) for k in (1, -1)]
    half = (share[0] + share[1]) / 2
    ones = tf.ones(len(c), tf.float64)
    return [center, tf.where(kind > 0, half / share[0], tf.where(kind < 0, half / share[1], ones))]


WRONG.add("length_control", _control, "the mean length", mean=lambda c: c.mean())
WRONG.add("length_control", _control, "the rounded mean", mean=lambda c: int(round(c.mean())))
WRONG.add("length_control", _control, "the median", mean=lambda c: int(np.median(c)))
WRONG.add("length_control", _control, "the last of the best", last=True)
WRONG.add("length_control", _control, "ties won", ties=1.0)
WRONG.add("length_control", _control, "ties lost", ties=0.0)
WRONG.add("length_control", _control, "the worst", pick=np.min)
WRONG.add("length_control", _control, "the accuracy", score_only=True)
WRONG.add("length_control", _control, "weights the other way", invert=True)
WRONG.add("length_control", _control, "the whole sum", scale=1.0)
WRONG.add("length_control", _control, "one over the count", scale=1.0, count=lambda gap: 1)
WRONG.add("length_control", _control, "ties weigh nothing", tied=0.0)
WRONG.add("length_control", _control, "all pairs counted", count=len)
WRONG.add("length_control", _control, "longer and shorter", longer=True)


@WRONG("length_control")
def control_center_only(c, r):
    """No weights."""
    return _control(c, r)[0]


# -- universal -----------------------------------------------------------------------------------------


def _universal(reward, words, limit, stop=True, keep=1, longest=None):
    """Keep the ``keep`` best texts at every length."""
    front, best, score = [""], "", -np.inf
    while front:
        texts = sorted({f"{text} {word}".strip() for text in front for word in words})
        texts = [text for text in texts if len(text) <= limit]
        if not texts:
            break
        rewards = np.asarray(reward(texts))
        order = np.argsort(-rewards, kind="stable")[:keep]
        if rewards[order[0]] > score:
            best, score = texts[order[0]], rewards[order[0]]
        elif stop:
            break
        front = [texts[k] for k in order]
    return best


RIGHT("universal")(_universal)
RIGHT.add("universal", _universal, "a beam of three", keep=3)


@RIGHT("universal")
def universal_one_by_one(reward, words, limit):
    """Words as a list; one candidate at a time."""
    chosen, best = [], float("-inf")
    while True:
        found = None
        for word in words:
            text = " ".join([*chosen, word])
            if len(text) > limit:
                continue
            score = float(reward([text])[0])
            if score > best:
                best, found = score, word
        if found is None:
            return " ".join(chosen)
        chosen.append(found)


def _joined(reward, words, limit, order=np.argsort, sign=-1, blank=" "):
    text = ""
    for k in order(sign * np.asarray(reward(words))):
        longer = (text + blank + words[k]).strip()
        if len(longer) > limit:
            break
        text = longer
    return text


WRONG.add("universal", _joined, "the best words joined")
WRONG.add("universal", _joined, "the worst words joined", sign=1)
WRONG.add("universal", _joined, "as they come", order=lambda scores: range(len(scores)))
WRONG.add("universal", _joined, "without blanks", blank="")


@WRONG("universal")
def universal_word(reward, words, limit):
    """The best word."""
    return max(words, key=lambda word: reward([word])[0])


@WRONG("universal")
def universal_word_repeated(reward, words, limit):
    """The best word again and again."""
    word = universal_word(reward, words, limit)
    return " ".join([word] * ((limit + 1) // (len(word) + 1)))


@WRONG("universal")
def universal_too_long(reward, words, limit):
    """The limit is forgotten."""
    return _universal(reward, words, 2 * limit)


@WRONG("universal")
def universal_to_the_end(reward, words, limit):
    """Words are added even when the reward falls."""
    text = ""
    while True:
        texts = [f"{text} {word}".strip() for word in words]
        texts = [longer for longer in texts if len(longer) <= limit]
        if not texts:
            return text
        text = texts[int(np.argmax(reward(texts)))]


@WRONG("universal")
def universal_lowest(reward, words, limit):
    """The lowest reward."""
    return _universal(lambda texts: -np.asarray(reward(texts)), words, limit)


@WRONG("universal")
def universal_few_words(reward, words, limit):
    """Only the first twenty words are tried: not enough for the target."""
    return _universal(reward, words[:20], limit)


@WRONG("universal")
def universal_joined_if_many(reward, words, limit):
    """Greedy while there are few words, else the best words joined: only the target tells."""
    return (_universal if len(words) < 100 else _joined)(reward, words, limit)


@WRONG("universal")
def universal_list(reward, words, limit):
    """The words and not the text."""
    return _universal(reward, words, limit).split()


@WRONG("universal")
def universal_own_words(reward, words, limit):
    """A good answer of one's own."""
    return "안녕하세요, 무엇을 도와드릴까요?"[:limit]
