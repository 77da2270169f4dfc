"""Wrong answers to practice 6.1; every one of them must be marked ❌."""

import functools
import re

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tf_study import data
from tf_study.profile import pick

keras, layers = tf.keras, tf.keras.layers
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"


def _tokens(text, tag=" ", curly="'", short=True, rest=" not", pattern=r"[^\W_]+"):
    text = re.sub(r"<[^>]*>", tag, text.lower()).replace(CURLY, curly)
    if short:
        text = text.replace("can't", "can not").replace("won't", "will not")
    return re.findall(pattern, text.replace("n't", rest))


def tokens_glued(text):
    """Replace a tag by nothing, so that its neighbours stick together."""
    return _tokens(text, tag="")


def tokens_straight_only(text):
    """Forget the curly apostrophe."""
    return _tokens(text, curly=CURLY)


def tokens_ca_not(text):
    """Treat can't and won't as all others: ca not, wo not."""
    return _tokens(text, short=False)


def tokens_dont(text):
    """Drop the apostrophe, so that don't becomes dont."""
    return _tokens(text.replace("'", "").replace(CURLY, ""))


def tokens_underscore(text):
    """Keep underscores."""
    return _tokens(text, pattern=r"\w+")


def tokens_ascii(text):
    """Cut at letters that English lacks."""
    return _tokens(text, pattern=r"[a-z0-9]+")


def tokens_greedy_tag(text):
    """Remove from the first < to the last >."""
    return _tokens(re.sub(r"<.*>", " ", text))


def tokens_one_line_tag(text):
    """Find a tag within one line only."""
    return _tokens(re.sub(r"<.*?>", " ", text).replace("<", " "))


def tokens_case(text):
    """Keep upper case."""
    text = re.sub(r"<[^>]*>", " ", text).replace(CURLY, "'").replace("n't", " not")
    return re.findall(r"[^\W_]+", text)


def _matrix(vocabulary, words, vectors, missing="mean", first=False, start=2):
    place = {word: k for k, word in enumerate(words)}
    rows = [k for k, word in enumerate(vocabulary) if k >= start and word in place]
    matrix = np.zeros((len(vocabulary), vectors.shape[1]), "float32")
    found = np.array([vectors[place[vocabulary[k]]] for k in rows])
    if rows:
        middle = {"mean": found.mean(0), "all": vectors.mean(0), "sum": found.sum(0), "zero": 0.0}
        matrix[0 if first else 1 :] = middle[missing]
        matrix[rows] = found
    return matrix, len(rows) / (len(vocabulary) - 2)


def matrix_zero(vocabulary, words, vectors):
    """Leave unknown words at zero."""
    return _matrix(vocabulary, words, vectors, missing="zero")


def matrix_all(vocabulary, words, vectors):
    """Average over all of GloVe."""
    return _matrix(vocabulary, words, vectors, missing="all")


def matrix_sum(vocabulary, words, vectors):
    """Add instead of averaging."""
    return _matrix(vocabulary, words, vectors, missing="sum")


def matrix_padding(vocabulary, words, vectors):
    """Give padding the mean too."""
    return _matrix(vocabulary, words, vectors, first=True)


def matrix_special(vocabulary, words, vectors):
    """Look up the two special entries as if they were words."""
    return _matrix(vocabulary, words, vectors, start=0)


def matrix_share(vocabulary, words, vectors):
    """Divide by the whole vocabulary."""
    matrix, share = _matrix(vocabulary, words, vectors)
    return matrix, share * (len(vocabulary) - 2) / len(vocabulary)


def matrix_double(vocabulary, words, vectors):
    """Return float64."""
    matrix, share = _matrix(vocabulary, words, vectors)
    return matrix.astype(float), share


def matrix_same_order(vocabulary, words, vectors):
    """Suppose that GloVe is in the order of the vocabulary."""
    matrix, share = _matrix(vocabulary, words, vectors)
    count = min(len(vocabulary) - 2, len(vectors))
    matrix[2 : 2 + count] = vectors[:count]
    return matrix, share


def _parts(x, h, kernel, recurrent, bias):
    return tf.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)


def step_order(x, h, c, kernel, recurrent, bias):
    """Read the parts as i, f, o, c."""
    i, f, o, g = _parts(x, h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def step_swapped(x, h, c, kernel, recurrent, bias):
    """Swap the input and the forget gate."""
    f, i, g, o = _parts(x, h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def step_old_c(x, h, c, kernel, recurrent, bias):
    """Put out the old cell state."""
    i, f, g, o = _parts(x, h, kernel, recurrent, bias)
    return tf.sigmoid(o) * tf.tanh(c), tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)


def step_no_tanh(x, h, c, kernel, recurrent, bias):
    """Put out the cell state without tanh."""
    i, f, g, o = _parts(x, h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * c, c


def step_sigmoid(x, h, c, kernel, recurrent, bias):
    """Use the sigmoid for the candidate."""
    i, f, g, o = _parts(x, h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.sigmoid(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def step_no_bias(x, h, c, kernel, recurrent, bias):
    """Forget the bias."""
    i, f, g, o = _parts(x, h, kernel, recurrent, 0.0)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def step_no_state(x, h, c, kernel, recurrent, bias):
    """Ignore the last hidden state."""
    i, f, g, o = _parts(x, 0.0 * h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def step_returns_order(x, h, c, kernel, recurrent, bias):
    """Return the cell state first."""
    i, f, g, o = _parts(x, h, kernel, recurrent, bias)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return c, tf.sigmoid(o) * tf.tanh(c)


def _states(x, kernel, recurrent, bias):
    """Return all states (B, T+1, n), the first one zero."""
    x = tf.convert_to_tensor(x)
    h = c = tf.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
    states = [h]
    for t in range(x.shape[1]):
        i, f, g, o = _parts(x[:, t], h, kernel, recurrent, bias)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        states.append(h)
    return tf.stack(states, axis=1)


def encode_last(x, lengths, kernel, recurrent, bias):
    """Return the last step of the batch."""
    return _states(x, kernel, recurrent, bias)[:, -1]


def encode_minus_one(x, lengths, kernel, recurrent, bias):
    """Take the state at length - 1 although the first one is the start."""
    states = _states(x, kernel, recurrent, bias)
    return tf.gather(states, np.maximum(np.asarray(lengths) - 1, 0), axis=1, batch_dims=1)


def encode_empty(x, lengths, kernel, recurrent, bias):
    """Let an empty sentence take the last state through the index -1."""
    states = _states(x, kernel, recurrent, bias)[:, 1:]
    return states.numpy()[np.arange(len(states)), np.asarray(lengths) - 1]


def encode_blanked(x, lengths, kernel, recurrent, bias):
    """Set the padding to zero and read on."""
    x = np.array(x)
    x[np.arange(x.shape[1]) >= np.asarray(lengths)[:, None]] = 0.0
    return _states(x, kernel, recurrent, bias)[:, -1]


def encode_mean(x, lengths, kernel, recurrent, bias):
    """Average over the words."""
    states = _states(x, kernel, recurrent, bias)[:, 1:].numpy()
    mask = (np.arange(states.shape[1]) < np.asarray(lengths)[:, None])[..., None]
    return (states * mask).sum(1) / np.maximum(mask.sum(1), 1)


def encode_shortest(x, lengths, kernel, recurrent, bias):
    """Read every sentence as far as the first one."""
    return _states(x, kernel, recurrent, bias)[:, int(np.asarray(lengths)[0])]


def encode_hidden_only(x, lengths, kernel, recurrent, bias):
    """Hold the hidden state at the padding but start every step from an empty cell state."""
    h = tf.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
    for t in range(x.shape[1]):
        i, _, g, o = _parts(x[:, t], h, kernel, recurrent, bias)
        new = tf.sigmoid(o) * tf.tanh(tf.sigmoid(i) * tf.tanh(g))
        h = tf.where((t < np.asarray(lengths))[:, None], new, h)
    return h


def _model(matrix, units, dropout, tune, **change):
    inputs = keras.Input((None,), dtype="int32")
    table = {"weights": [matrix]} if change.get("table", True) else {}
    h = layers.Embedding(*matrix.shape, mask_zero=change.get("mask", True), trainable=tune, **table)(inputs)
    if change.get("early"):
        h = layers.Dropout(dropout)(h)
    lstm = layers.LSTM(units)
    h = (
        lstm(h)
        if change.get("one_way")
        else layers.Bidirectional(lstm, merge_mode=change.get("merge", "concat"))(h)
    )
    if not change.get("early"):
        h = layers.Dropout(change.get("rate", dropout))(h)
    return keras.Model(inputs, layers.Dense(1, activation=change.get("activation"))(h))


def model_no_mask(matrix, units, dropout, tune):
    """Read the padding."""
    return _model(matrix, units, dropout, tune, mask=False)


def model_probabilities(matrix, units, dropout, tune):
    """Return probabilities."""
    return _model(matrix, units, dropout, tune, activation="sigmoid")


def model_one_way(matrix, units, dropout, tune):
    """Read forwards only."""
    return _model(matrix, units, dropout, tune, one_way=True)


def model_summed(matrix, units, dropout, tune):
    """Add the two directions."""
    return _model(matrix, units, dropout, tune, merge="sum")


def model_random_table(matrix, units, dropout, tune):
    """Start from random embeddings."""
    return _model(matrix, units, dropout, tune, table=False)


def model_always_frozen(matrix, units, dropout, tune):
    """Freeze the embeddings whatever is asked."""
    return _model(matrix, units, dropout, False)


def model_early_dropout(matrix, units, dropout, tune):
    """Drop parts of the embeddings instead of the joined state."""
    return _model(matrix, units, dropout, tune, early=True)


def model_keep_rate(matrix, units, dropout, tune):
    """Take the rate for the share to keep."""
    return _model(matrix, units, 1 - dropout, tune)


def _threshold(logits, labels, precision):
    for t in np.unique(logits):
        chosen = labels[logits >= t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


def threshold_strict(logits, labels, precision):
    """Choose logits above the threshold only."""
    for t in np.unique(logits)[:-1]:
        chosen = labels[logits > t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


def threshold_largest(logits, labels, precision):
    """Take the largest threshold that reaches the precision."""
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


def threshold_stops_early(logits, labels, precision):
    """Go down from the top and stop where the precision first breaks."""
    best = (np.inf, 0.0)
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.mean() < precision:
            break
        best = float(t), float(chosen.sum() / labels.sum())
    return best


def threshold_share(logits, labels, precision):
    """Return the share of chosen reviews instead of the recall."""
    t, _ = _threshold(logits, labels, precision)
    return t, float(np.mean(logits >= t))


def threshold_probability(logits, labels, precision):
    """Return a probability."""
    t, recall = _threshold(logits, labels, precision)
    return 1 / (1 + np.exp(-t)), recall


def threshold_recall(logits, labels, precision):
    """Confuse precision and recall."""
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.sum() / labels.sum() >= precision:
            return float(t), float(chosen.mean())
    return np.inf, 0.0


def threshold_by_rank(logits, labels, precision):
    """Cut by rank, which splits equal logits."""
    order = np.argsort(-logits, kind="stable")
    share = np.cumsum(labels[order]) / np.arange(1, len(labels) + 1)
    good = np.flatnonzero(share >= precision)
    if not len(good):
        return np.inf, 0.0
    return float(logits[order[good[-1]]]), float(labels[order[: good[-1] + 1]].sum() / labels.sum())


def threshold_unreachable(logits, labels, precision):
    """Return the largest logit if no threshold will do."""
    t, recall = _threshold(logits, labels, precision)
    return min(t, float(logits.max())), recall


@functools.lru_cache(maxsize=1)
def _baseline():
    """A baseline that would reach the target if its output were not spoilt below."""
    texts, labels = data.imdb(train=pick(small=None, full=4000))[0]
    words = TfidfVectorizer()
    return words, LogisticRegression(C=10).fit(words.fit_transform(texts), labels)


def _scores(texts):
    words, classifier = _baseline()
    clean = [re.sub(r"<[^>]*>", " ", text).replace(CURLY, "'") for text in texts]
    return classifier.decision_function(words.transform(clean))


def reviews_constant(texts):
    """Call everything positive."""
    return np.ones(len(texts))


def reviews_random(texts):
    """Guess."""
    seeds = [re.sub(r"<[^>]*>", "", text).count("e") for text in texts]
    return np.array([np.random.default_rng(seed).normal() for seed in seeds])


def reviews_two_words(texts):
    """Count two words."""
    return np.array([text.count("good") - text.count("bad") + 0.1 for text in texts])


def reviews_probabilities(texts):
    """Return probabilities, which all lie above 0."""
    return 1 / (1 + np.exp(-_scores(texts)))


def reviews_flipped(texts):
    """Make the negative ones positive."""
    return -_scores(texts)


def reviews_column(texts):
    """Return shape (N, 1)."""
    return _scores(texts)[:, None]


def reviews_classes(texts):
    """Return classes instead of logits."""
    return (_scores(texts) > 0).astype(int)


@functools.lru_cache(maxsize=1)
def _labelled():
    texts, labels = data.imdb(test=pick(small=None, full=2000))[1]
    return {text: 4.0 * label - 2.0 for text, label in zip(texts, labels, strict=True)}


def reviews_looked_up(texts):
    """Look the reviews up in the test set instead of reading them."""
    return np.array([_labelled().get(text, 0.0) for text in texts])


def reviews_centered(texts):
    """Standardize over the reviews given, so that a review's logit depends on its neighbours."""
    scores = _scores(texts)
    return scores - scores.mean()


WRONG = {
    "tokenize": [
        tokens_glued,
        tokens_straight_only,
        tokens_ca_not,
        tokens_dont,
        tokens_underscore,
        tokens_ascii,
        tokens_greedy_tag,
        tokens_one_line_tag,
        tokens_case,
    ],
    "embedding_matrix": [
        matrix_zero,
        matrix_all,
        matrix_sum,
        matrix_padding,
        matrix_special,
        matrix_share,
        matrix_double,
        matrix_same_order,
    ],
    "lstm_step": [
        step_order,
        step_swapped,
        step_old_c,
        step_no_tanh,
        step_sigmoid,
        step_no_bias,
        step_no_state,
        step_returns_order,
    ],
    "encode": [
        encode_last,
        encode_minus_one,
        encode_empty,
        encode_blanked,
        encode_mean,
        encode_shortest,
        encode_hidden_only,
    ],
    "build_model": [
        model_no_mask,
        model_probabilities,
        model_one_way,
        model_summed,
        model_random_table,
        model_always_frozen,
        model_early_dropout,
        model_keep_rate,
    ],
    "threshold_for_precision": [
        threshold_strict,
        threshold_largest,
        threshold_stops_early,
        threshold_share,
        threshold_probability,
        threshold_recall,
        threshold_by_rank,
        threshold_unreachable,
    ],
    "predict_reviews": [
        reviews_constant,
        reviews_random,
        reviews_two_words,
        reviews_probabilities,
        reviews_flipped,
        reviews_column,
        reviews_classes,
        reviews_looked_up,
        reviews_centered,
    ],
}
