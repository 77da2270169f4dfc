"""Right and wrong answers to practice 6.1."""

import functools
import re

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from answers import Answers
from tf_study import data
from tf_study.profile import pick

RIGHT, WRONG = Answers(), Answers()

keras, layers = tf.keras, tf.keras.layers
CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"


def _tokens(text, tag=" ", curly="'", short=True, rest=" not", pattern=r"[^\W_]+"):
    text = re.sub(r"<[^>]*>", tag, text.lower()).replace(CURLY, curly)
    if short:
        text = text.replace("can't", "can not").replace("won't", "will not")
    return re.findall(pattern, text.replace("n't", rest))


RIGHT("tokenize")(_tokens)


@RIGHT("tokenize")
def tokens_by_letter(text):
    """No regular expression: every letter in turn."""
    text = text.lower().replace(CURLY, "'")
    for short, spelled in {"can't": "can not", "won't": "will not", "n't": " not"}.items():
        text = spelled.join(text.split(short))
    out, k = [""], 0
    while k < len(text):
        end = text.find(">", k) if text[k] == "<" else -1
        k, letter = (end + 1, " ") if end > 0 else (k + 1, text[k])
        out = [*out[:-1], out[-1] + letter] if letter.isalnum() else [*out, ""]
    return [token for token in out if token]


@RIGHT("tokenize")
def tokens_split(text):
    """Blanks for everything that is no letter, then split."""
    text = re.sub("<.*?>", " ", text.lower(), flags=re.DOTALL).replace(CURLY, "'")
    text = re.sub("n't", " not", re.sub("won't", "will not", re.sub("can't", "can not", text)))
    return re.sub(r"\W|_", " ", text).split()


WRONG.add("tokenize", _tokens, "Replace a tag by nothing, so that its neighbours stick together.", tag="")
WRONG.add("tokenize", _tokens, "Forget the curly apostrophe.", curly=CURLY)
WRONG.add("tokenize", _tokens, "Treat can't and won't as all others: ca not, wo not.", short=False)


@WRONG("tokenize")
def tokens_attached_only(text):
    """Spell n't out behind a word only."""
    return _tokens(re.sub(r"(?<!\w)n['’]t", "n t", text.lower()))


@WRONG("tokenize")
def tokens_dont(text):
    """Drop the apostrophe, so that don't becomes dont."""
    return _tokens(text.replace("'", "").replace(CURLY, ""))


WRONG.add("tokenize", _tokens, "Keep underscores.", pattern=r"\w+")
WRONG.add("tokenize", _tokens, "Cut at letters that English lacks.", pattern=r"[a-z0-9]+")


@WRONG("tokenize")
def tokens_greedy_tag(text):
    """Remove from the first < to the last >."""
    return _tokens(re.sub(r"<.*>", " ", text))


@WRONG("tokenize")
def tokens_one_line_tag(text):
    """Find a tag within one line only."""
    return _tokens(re.sub(r"<.*?>", " ", text).replace("<", " "))


@WRONG("tokenize")
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


RIGHT("embedding_matrix")(_matrix)


@RIGHT("embedding_matrix")
def matrix_by_rows(vocabulary, words, vectors):
    """Rows appended one by one from a dictionary of vectors."""
    table = dict(zip(words, vectors, strict=True))
    known = [table[word] for word in vocabulary[2:] if word in table]
    middle = sum(known) / len(known) if known else np.zeros(vectors.shape[1])
    rows = [0 * middle, middle] + [table.get(word, middle) for word in vocabulary[2:]]
    return np.array(rows, dtype="float32"), np.float64(len(known)) / (len(vocabulary) - 2)


@RIGHT("embedding_matrix")
def matrix_tensorflow(vocabulary, words, vectors):
    """A look-up table of TensorFlow; tensors returned."""
    place = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(words), tf.range(len(words), dtype=tf.int64)), -1
    ).lookup(tf.constant(list(vocabulary[2:])))
    found = tf.cast(place >= 0, tf.float64)
    rows = tf.gather(tf.cast(vectors, tf.float64), tf.maximum(place, 0)) * found[:, None]
    middle = tf.math.divide_no_nan(tf.reduce_sum(rows, 0), tf.reduce_sum(found))[None]
    rows = tf.concat([0 * middle, middle, tf.where(found[:, None] > 0, rows, middle)], 0)
    return tf.cast(rows, tf.float32), tf.reduce_mean(found)


WRONG.add("embedding_matrix", _matrix, "Leave unknown words at zero.", missing="zero")
WRONG.add("embedding_matrix", _matrix, "Average over all of GloVe.", missing="all")
WRONG.add("embedding_matrix", _matrix, "Add instead of averaging.", missing="sum")
WRONG.add("embedding_matrix", _matrix, "Give padding the mean too.", first=True)
WRONG.add("embedding_matrix", _matrix, "Look up the two special entries as if they were words.", start=0)


@WRONG("embedding_matrix")
def matrix_share(vocabulary, words, vectors):
    """Divide by the whole vocabulary."""
    matrix, share = _matrix(vocabulary, words, vectors)
    return matrix, share * (len(vocabulary) - 2) / len(vocabulary)


@WRONG("embedding_matrix")
def matrix_double(vocabulary, words, vectors):
    """Return float64."""
    matrix, share = _matrix(vocabulary, words, vectors)
    return matrix.astype(float), share


@WRONG("embedding_matrix")
def matrix_same_order(vocabulary, words, vectors):
    """Suppose that GloVe is in the order of the vocabulary."""
    matrix, share = _matrix(vocabulary, words, vectors)
    count = min(len(vocabulary) - 2, len(vectors))
    matrix[2 : 2 + count] = vectors[:count]
    return matrix, share


def _parts(x, h, kernel, recurrent, bias):
    return tf.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)


@RIGHT("lstm_step")
def step_cell(x, h, c, kernel, recurrent, bias):
    """Keras' own cell with the given weights."""
    cell = layers.LSTMCell(recurrent.shape[0])
    cell.build(x.shape)
    cell.set_weights([kernel, recurrent, bias])
    return cell(tf.cast(x, tf.float32), [tf.cast(h, tf.float32), tf.cast(c, tf.float32)])[1]


@RIGHT("lstm_step")
def step_numpy(x, h, c, kernel, recurrent, bias):
    """NumPy, gate by gate; the sigmoid by tanh, which does not overflow; a list."""
    x, h, c, W, U, b = (np.asarray(v) for v in (x, h, c, kernel, recurrent, bias))
    n = U.shape[0]
    i, f, g, o = (x @ W[:, k : k + n] + h @ U[:, k : k + n] + b[k : k + n] for k in range(0, 4 * n, n))
    i, f, o = ((1 + np.tanh(part / 2)) / 2 for part in (i, f, o))
    c = f * c + i * np.tanh(g)
    return [o * np.tanh(c), c]


@RIGHT("lstm_step")
@tf.function
def step_joined(x, h, c, kernel, recurrent, bias):
    """One product of the joined inputs, inside a tf.function."""
    a = tf.concat([x, h], 1) @ tf.concat([kernel, recurrent], 0) + bias
    i, f, g, o = tf.unstack(tf.reshape(a, (len(x), 4, -1)), axis=1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def _step(x, h, c, kernel, recurrent, bias, order="ifgo", candidate=tf.tanh, last=tf.tanh, old=False):
    part = dict(zip(order, _parts(x, h, kernel, recurrent, bias), strict=True))
    new = tf.sigmoid(part["f"]) * c + tf.sigmoid(part["i"]) * candidate(part["g"])
    return tf.sigmoid(part["o"]) * last(c if old else new), new


WRONG.add("lstm_step", _step, "Read the parts as i, f, o, c.", order="ifog")
WRONG.add("lstm_step", _step, "Swap the input and the forget gate.", order="figo")
WRONG.add("lstm_step", _step, "Put out the old cell state.", old=True)
WRONG.add("lstm_step", _step, "Put out the cell state without tanh.", last=tf.identity)
WRONG.add("lstm_step", _step, "Use the sigmoid for the candidate.", candidate=tf.sigmoid)


@WRONG("lstm_step")
def step_no_bias(x, h, c, kernel, recurrent, bias):
    """Forget the bias."""
    return _step(x, h, c, kernel, recurrent, 0.0)


@WRONG("lstm_step")
def step_no_state(x, h, c, kernel, recurrent, bias):
    """Ignore the last hidden state."""
    return _step(x, 0.0 * h, c, kernel, recurrent, bias)


@WRONG("lstm_step")
def step_returns_order(x, h, c, kernel, recurrent, bias):
    """Return the cell state first."""
    return _step(x, h, c, kernel, recurrent, bias)[::-1]


def _states(x, kernel, recurrent, bias):
    """Return all states (B, T+1, n), the first one zero."""
    x = tf.convert_to_tensor(x)
    h = c = tf.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
    states = [h]
    for t in range(x.shape[1]):
        h, c = _step(x[:, t], h, c, kernel, recurrent, bias)
        states.append(h)
    return tf.stack(states, axis=1)


@RIGHT("encode")
def encode_gathered(x, lengths, kernel, recurrent, bias):
    """All states, then one a sentence."""
    return tf.gather(_states(x, kernel, recurrent, bias), lengths, axis=1, batch_dims=1)


@RIGHT("encode")
def encode_held(x, lengths, kernel, recurrent, bias):
    """Hold both states at the padding."""
    x, lengths = np.asarray(x), np.asarray(lengths)
    h = c = np.zeros((len(x), recurrent.shape[0]))
    for t in range(x.shape[1]):
        new_h, new_c = step_numpy(x[:, t], h, c, kernel, recurrent, bias)
        reads = (t < lengths)[:, None]
        h, c = np.where(reads, new_h, h), np.where(reads, new_c, c)
    return h


@RIGHT("encode")
def encode_alone(x, lengths, kernel, recurrent, bias):
    """Every sentence alone, cut to its length."""
    rows = [_states(row[None, : int(size)], kernel, recurrent, bias)[0, -1] for row, size in zip(x, lengths)]  # noqa: B905
    return tf.stack(rows)


@WRONG("encode")
def encode_last(x, lengths, kernel, recurrent, bias):
    """Return the last step of the batch."""
    return _states(x, kernel, recurrent, bias)[:, -1]


@WRONG("encode")
def encode_minus_one(x, lengths, kernel, recurrent, bias):
    """Take the state at length - 1 although the first one is the start."""
    states = _states(x, kernel, recurrent, bias)
    return tf.gather(states, np.maximum(np.asarray(lengths) - 1, 0), axis=1, batch_dims=1)


@WRONG("encode")
def encode_empty(x, lengths, kernel, recurrent, bias):
    """Let an empty sentence take the last state through the index -1."""
    states = _states(x, kernel, recurrent, bias)[:, 1:]
    return states.numpy()[np.arange(len(states)), np.asarray(lengths) - 1]


@WRONG("encode")
def encode_blanked(x, lengths, kernel, recurrent, bias):
    """Set the padding to zero and read on."""
    x = np.array(x)
    x[np.arange(x.shape[1]) >= np.asarray(lengths)[:, None]] = 0.0
    return _states(x, kernel, recurrent, bias)[:, -1]


@WRONG("encode")
def encode_mean(x, lengths, kernel, recurrent, bias):
    """Average over the words."""
    states = _states(x, kernel, recurrent, bias)[:, 1:].numpy()
    mask = (np.arange(states.shape[1]) < np.asarray(lengths)[:, None])[..., None]
    return (states * mask).sum(1) / np.maximum(mask.sum(1), 1)


@WRONG("encode")
def encode_shortest(x, lengths, kernel, recurrent, bias):
    """Read every sentence as far as the first one."""
    return _states(x, kernel, recurrent, bias)[:, int(np.asarray(lengths)[0])]


@WRONG("encode")
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


RIGHT("build_model")(_model)


@RIGHT("build_model")
def model_sequential(matrix, units, dropout, tune):
    """A Sequential model; the embeddings by an initializer, the mask from a layer of its own."""
    table = layers.Embedding(
        *matrix.shape, embeddings_initializer=keras.initializers.Constant(matrix), mask_zero=True
    )
    table.trainable = tune
    whole = [table, layers.Bidirectional(layers.LSTM(units)), layers.Dropout(dropout), layers.Dense(1)]
    return keras.Sequential([keras.Input((None,), dtype="int32"), *whole])


@RIGHT("build_model")
def model_two_lstms(matrix, units, dropout, tune):
    """Two LSTMs, one of which reads backwards, joined by hand."""
    inputs = keras.Input((None,), dtype="int64")
    h = layers.Embedding(*matrix.shape, weights=[matrix], mask_zero=True, trainable=tune)(inputs)
    both = [layers.LSTM(units, go_backwards=back)(h) for back in (False, True)]
    return keras.Model(inputs, layers.Dense(1)(layers.Dropout(dropout)(layers.concatenate(both))))


WRONG.add("build_model", _model, "Read the padding.", mask=False)
WRONG.add("build_model", _model, "Return probabilities.", activation="sigmoid")
WRONG.add("build_model", _model, "Read forwards only.", one_way=True)
WRONG.add("build_model", _model, "Add the two directions.", merge="sum")
WRONG.add("build_model", _model, "Start from random embeddings.", table=False)


@WRONG("build_model")
def model_always_frozen(matrix, units, dropout, tune):
    """Freeze the embeddings whatever is asked."""
    return _model(matrix, units, dropout, False)


WRONG.add("build_model", _model, "Drop parts of the embeddings instead of the joined state.", early=True)


@WRONG("build_model")
def model_keep_rate(matrix, units, dropout, tune):
    """Take the rate for the share to keep."""
    return _model(matrix, units, 1 - dropout, tune)


def _threshold(logits, labels, precision):
    for t in np.unique(logits):
        chosen = labels[logits >= t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


RIGHT("threshold_for_precision")(_threshold)


@RIGHT("threshold_for_precision")
def threshold_sorted(logits, labels, precision):
    """Sort once; a group of equal logits ends where the next one differs."""
    order = np.argsort(logits)[::-1]
    z, hits = logits[order], np.cumsum(labels[order])
    ends = np.flatnonzero(np.append(z[1:] != z[:-1], True))
    good = ends[hits[ends] / (ends + 1) >= precision]
    return (z[good[-1]], hits[good[-1]] / hits[-1]) if len(good) else (np.inf, 0.0)


@RIGHT("threshold_for_precision")
def threshold_table(logits, labels, precision):
    """A table of who is chosen at which threshold; tensors returned."""
    z, y = tf.constant(logits), tf.cast(labels, tf.float64)
    chosen = tf.cast(z[None] >= z[:, None], tf.float64)
    reached = tf.linalg.matvec(chosen, y) / tf.reduce_sum(chosen, 1) >= precision
    t = tf.reduce_min(tf.where(reached, z, np.inf))
    return t, tf.reduce_sum(tf.cast(z >= t, tf.float64) * y) / tf.reduce_sum(y)


@WRONG("threshold_for_precision")
def threshold_strict(logits, labels, precision):
    """Choose logits above the threshold only."""
    for t in np.unique(logits)[:-1]:
        chosen = labels[logits > t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


@WRONG("threshold_for_precision")
def threshold_largest(logits, labels, precision):
    """Take the largest threshold that reaches the precision."""
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.mean() >= precision:
            return float(t), float(chosen.sum() / labels.sum())
    return np.inf, 0.0


@WRONG("threshold_for_precision")
def threshold_stops_early(logits, labels, precision):
    """Go down from the top and stop where the precision first breaks."""
    best = (np.inf, 0.0)
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.mean() < precision:
            break
        best = float(t), float(chosen.sum() / labels.sum())
    return best


@WRONG("threshold_for_precision")
def threshold_share(logits, labels, precision):
    """Return the share of chosen reviews instead of the recall."""
    t, _ = _threshold(logits, labels, precision)
    return t, float(np.mean(logits >= t))


@WRONG("threshold_for_precision")
def threshold_probability(logits, labels, precision):
    """Return a probability."""
    t, recall = _threshold(logits, labels, precision)
    return 1 / (1 + np.exp(-t)), recall


@WRONG("threshold_for_precision")
def threshold_recall(logits, labels, precision):
    """Confuse precision and recall."""
    for t in np.unique(logits)[::-1]:
        chosen = labels[logits >= t]
        if chosen.sum() / labels.sum() >= precision:
            return float(t), float(chosen.mean())
    return np.inf, 0.0


@WRONG("threshold_for_precision")
def threshold_by_rank(logits, labels, precision):
    """Cut by rank, which splits equal logits."""
    order = np.argsort(-logits, kind="stable")
    share = np.cumsum(labels[order]) / np.arange(1, len(labels) + 1)
    good = np.flatnonzero(share >= precision)
    if not len(good):
        return np.inf, 0.0
    return float(logits[order[good[-1]]]), float(labels[order[: good[-1] + 1]].sum() / labels.sum())


@WRONG("threshold_for_precision")
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


@WRONG("predict_reviews")
def reviews_constant(texts):
    """Call everything positive."""
    return np.ones(len(texts))


@WRONG("predict_reviews")
def reviews_random(texts):
    """Guess."""
    seeds = [re.sub(r"<[^>]*>", "", text).count("e") for text in texts]
    return np.array([np.random.default_rng(seed).normal() for seed in seeds])


@WRONG("predict_reviews")
def reviews_two_words(texts):
    """Count two words."""
    return np.array([text.count("good") - text.count("bad") + 0.1 for text in texts])


@WRONG("predict_reviews")
def reviews_probabilities(texts):
    """Return probabilities, which all lie above 0."""
    return 1 / (1 + np.exp(-_scores(texts)))


@WRONG("predict_reviews")
def reviews_flipped(texts):
    """Make the negative ones positive."""
    return -_scores(texts)


@WRONG("predict_reviews")
def reviews_column(texts):
    """Return shape (N, 1)."""
    return _scores(texts)[:, None]


@WRONG("predict_reviews")
def reviews_classes(texts):
    """Return classes instead of logits."""
    return (_scores(texts) > 0).astype(int)


@functools.lru_cache(maxsize=1)
def _labelled():
    train, test = data.imdb(test=pick(small=None, full=2000))
    return [*train[0], *test[0]], np.concatenate([train[1], test[1]])


@WRONG("predict_reviews")
def reviews_looked_up(texts):
    """Look the reviews up in the public sets instead of reading them."""
    known = dict(zip(*_labelled(), strict=True))
    return np.array([4.0 * known.get(re.sub("^<br />", "", text), 0) - 2 for text in texts])


@RIGHT("predict_reviews")
def reviews_linear(texts):
    """A linear model of weighted words."""
    return _scores(texts)


@functools.lru_cache(maxsize=1)
def _bayes():
    texts, labels = data.imdb(train=pick(small=None, full=4000))[0]
    words = CountVectorizer(ngram_range=(1, 2), binary=True)
    return words, MultinomialNB().fit(words.fit_transform(texts), labels)


@RIGHT("predict_reviews")
def reviews_bayes(texts):
    """Naive Bayes; a list of Python numbers."""
    words, model = _bayes()
    clean = [re.sub(r"<[^>]*>", " ", text).replace(CURLY, "'") for text in texts]
    return (model.predict_log_proba(words.transform(clean)) @ [-1.0, 1.0]).tolist()


@WRONG("predict_reviews")
def reviews_centered(texts):
    """Standardize over the reviews given, so that a review's logit depends on its neighbours."""
    scores = _scores(texts)
    return scores - scores.mean()
