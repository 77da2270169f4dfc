"""Right and wrong answers to practice 6.2."""

import functools
import itertools
import re
import unicodedata
from collections import Counter

import numpy as np
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from answers import Answers
from tf_study import data
from tf_study.profile import pick

RIGHT, WRONG = Answers(), Answers()

keras, layers = tf.keras, tf.keras.layers
LINEAR, BAYES = LogisticRegression(C=10), MultinomialNB()


def _clean(text, form="NFC", pattern=r"([^\s0-9])\1{2,}", kept=r"\1\1", blanks=r"\s+", ends=None):
    text = re.sub(pattern, kept, unicodedata.normalize(form, text) if form else text)
    return re.sub(blanks, " ", text).strip(ends)


RIGHT("normalize_review")(_clean)


@RIGHT("normalize_review")
def clean_by_letter(text):
    """No regular expression: a letter is left out if the two before it are the same."""
    out = ""
    for letter in unicodedata.normalize("NFC", text):
        letter = " " if letter.isspace() else letter
        out += (
            ""
            if letter in " " and out.endswith(" ") or letter not in " 0123456789" and out.endswith(2 * letter)
            else letter
        )
    return out.strip()


@RIGHT("normalize_review")
def clean_groups(text):
    """Runs of equal letters by itertools."""
    runs = ["".join(run) for _, run in itertools.groupby(unicodedata.normalize("NFC", text))]
    short = [run if run[0].isspace() or run[0] in "0123456789" else run[:2] for run in runs]
    return re.sub(r"\s+", " ", "".join(short)).strip()


WRONG.add("normalize_review", _clean, "Leave the text decomposed.", form=None)
WRONG.add("normalize_review", _clean, "Use NFKC, which replaces the compatibility jamo.", form="NFKC")
WRONG.add("normalize_review", _clean, "Collapse digits as well.", pattern=r"(\S)\1{2,}")
WRONG.add("normalize_review", _clean, "Keep every digit of Unicode.", pattern=r"([^\s\d])\1{2,}")
WRONG.add("normalize_review", _clean, "Keep one letter instead of two.", kept=r"\1")
WRONG.add("normalize_review", _clean, "Collapse Hangul only.", pattern=r"([ㄱ-ㅣ가-힣])\1{2,}")
WRONG.add("normalize_review", _clean, "Collapse spaces, not tabs or line breaks.", blanks=" +", ends=" ")
WRONG.add("normalize_review", _clean, "Leave a space at both ends.", ends="_")


@WRONG("normalize_review")
def clean_nfc_last(text):
    """Compose only after collapsing, too late for decomposed syllables."""
    return unicodedata.normalize("NFC", _clean(text, form=None))


@RIGHT("morphemes")
def tokens_first_all(texts, tagger, keep, cache):
    """First the texts that are new, each once, then the choice."""
    cache.update({text: tagger.pos(text, norm=True, stem=True) for text in set(texts) - set(cache)})
    return [["/".join(pair) for pair in cache[text] if pair[1] in keep] for text in texts]


@RIGHT("morphemes")
def tokens_by_key_error(texts, tagger, keep, cache):
    """Ask the cache and analyse where it raises; positional options; tuples in the cache."""
    rows = []
    for text in texts:
        try:
            pairs = cache[text]
        except KeyError:
            pairs = cache[text] = tuple(tagger.pos(text, True, True))
        rows.append([f"{m}/{p}" for m, p in filter(lambda pair: pair[1] in keep, pairs)])
    return rows


@WRONG("morphemes")
def tokens_no_cache(texts, tagger, keep, cache):
    """Never look into the cache."""
    for text in texts:
        cache[text] = tagger.pos(text, norm=True, stem=True)
    return [[f"{m}/{p}" for m, p in cache[text] if p in keep] for text in texts]


@WRONG("morphemes")
def tokens_empty_cache(texts, tagger, keep, cache):
    """Analyse each text but never fill the cache."""
    return [[f"{m}/{p}" for m, p in tagger.pos(t, norm=True, stem=True) if p in keep] for t in texts]


@WRONG("morphemes")
def tokens_cache_filtered(texts, tagger, keep, cache):
    """Cache the filtered tokens, wrong for another set of parts of speech."""
    for text in texts:
        if text not in cache:
            cache[text] = [f"{m}/{p}" for m, p in tagger.pos(text, norm=True, stem=True) if p in keep]
    return [cache[text] for text in texts]


@WRONG("morphemes")
def tokens_empty_again(texts, tagger, keep, cache):
    """Analyse a text again if nothing was found in it."""
    for text in texts:
        if text not in cache or not cache[text]:
            cache[text] = tagger.pos(text, norm=True, stem=True)
    return [[f"{m}/{p}" for m, p in cache[text] if p in keep] for text in texts]


def _tokens(texts, tagger, keep, cache, form="{}/{}", norm=True, stem=True):
    for text in texts:
        if text not in cache:
            cache[text] = tagger.pos(text, norm=norm, stem=stem)
    return [[form.format(m, p) for m, p in cache[text] if p in keep] for text in texts]


WRONG.add("morphemes", _tokens, "Leave the inflected forms.", stem=False)
WRONG.add("morphemes", _tokens, "Forget norm.", norm=False)
WRONG.add("morphemes", _tokens, "Return morphemes without their part of speech.", form="{}")


@WRONG("morphemes")
def tokens_dropped(texts, tagger, keep, cache):
    """Drop the chosen parts of speech instead of keeping them."""
    rows = _tokens(texts, tagger, {"Noun", "Verb", "Josa", "Adjective", "Determiner"}, cache)
    return [[token for token in row if token.split("/")[1] not in keep] for row in rows]


@WRONG("morphemes")
def tokens_skip_empty(texts, tagger, keep, cache):
    """Leave out texts of which nothing is left."""
    return [row for row in _tokens(texts, tagger, keep, cache) if row]


def _counts(documents):
    return Counter(w for document in documents for w in document)


def _numbered(ranked, start=2):
    return {w: i for i, w in enumerate(ranked, start=start)}


@WRONG("build_vocabulary")
def vocabulary_zero_is_no_limit(documents, min_count, max_size):
    """Take a limit of 0 for none."""
    counts = _counts(documents)
    ranked = sorted((w for w in counts if counts[w] >= min_count), key=lambda w: (-counts[w], w))
    return _numbered(ranked[:max_size] if max_size else ranked)


@WRONG("build_vocabulary")
def vocabulary_most_common(documents, min_count, max_size):
    """Break ties by first appearance."""
    return _numbered([w for w, c in _counts(documents).most_common() if c >= min_count][:max_size])


@WRONG("build_vocabulary")
def vocabulary_keras(documents, min_count, max_size):
    """Break ties in descending order, as Keras does."""
    counts = _counts(documents)
    ranked = sorted(counts, key=lambda w: (counts[w], w), reverse=True)
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size])


@WRONG("build_vocabulary")
def vocabulary_documents(documents, min_count, max_size):
    """Count reviews instead of occurrences."""
    counts = Counter(w for document in documents for w in set(document))
    ranked = sorted(counts, key=lambda w: (-counts[w], w))
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size])


def _vocabulary(documents, min_count, max_size, start=2):
    counts = _counts(documents)
    ranked = sorted(counts, key=lambda w: (-counts[w], w))
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size], start)


RIGHT("build_vocabulary")(_vocabulary)


@RIGHT("build_vocabulary")
def vocabulary_numpy(documents, min_count, max_size):
    """NumPy's unique, whose order a stable sort keeps; NumPy integers."""
    words, counts = np.unique(np.array(sum(documents, []), str), return_counts=True)
    ranked = [k for k in np.argsort(-counts, kind="stable") if counts[k] >= min_count]
    return {str(words[k]): np.int64(2 + i) for i, k in enumerate(ranked[:max_size])}


@RIGHT("build_vocabulary")
def vocabulary_two_sorts(documents, min_count, max_size):
    """Sorted twice: by the letters, then by the count."""
    counts = {}
    for word in itertools.chain.from_iterable(documents):
        counts[word] = counts.get(word, 0) + 1
    ranked = sorted(sorted(counts), key=counts.get, reverse=True)
    ranked = [word for word in ranked if not counts[word] < min_count]
    size = len(ranked) if max_size is None else min(max_size, len(ranked))
    return dict(zip(ranked[:size], range(2, 2 + size), strict=True))


WRONG.add("build_vocabulary", _vocabulary, "Start at 0, the number of padding.", start=0)
WRONG.add("build_vocabulary", _vocabulary, "Start at 1, the number of unknown tokens.", start=1)


@WRONG("build_vocabulary")
def vocabulary_strict(documents, min_count, max_size):
    """Ask for more than the minimum."""
    return _vocabulary(documents, min_count + 1, max_size)


@WRONG("build_vocabulary")
def vocabulary_two_less(documents, min_count, max_size):
    """Count the two reserved numbers in the size."""
    return _vocabulary(documents, min_count, None if max_size is None else max(0, max_size - 2))


@WRONG("build_vocabulary")
def vocabulary_list(documents, min_count, max_size):
    """Return a list."""
    return list(_vocabulary(documents, min_count, max_size))


def _encode(documents, vocabulary, length, unknown=1, empty=(1,), **options):
    ids = [[vocabulary.get(w, unknown) for w in document] or list(empty) for document in documents]
    return keras.utils.pad_sequences(ids, length, **({"padding": "post", "truncating": "pre"} | options))


RIGHT("encode")(_encode)


@RIGHT("encode")
def encode_rows(documents, vocabulary, length):
    """A list of lists, filled up and cut in Python."""
    rows = []
    for document in documents:
        ids = [vocabulary[w] if w in vocabulary else 1 for w in document[-length:]] or [1]
        rows.append(ids + [0] * (length - len(ids)))
    return np.array(rows, "int32")


@RIGHT("encode")
def encode_ragged(documents, vocabulary, length):
    """A ragged tensor; a tensor returned."""
    ids = [[vocabulary.get(w, 1) for w in document] or [1] for document in documents]
    return tf.ragged.constant(ids, dtype=tf.int32)[:, -length:].to_tensor(shape=(None, length))


WRONG.add("encode", _encode, "Keep the first tokens of a long text.", truncating="post")
WRONG.add("encode", _encode, "Pad in front.", padding="pre")
WRONG.add("encode", _encode, "Give unknown tokens the number of padding.", unknown=0)
WRONG.add("encode", _encode, "Leave an empty text empty.", empty=())
WRONG.add("encode", _encode, "Return int64.", dtype="int64")


@WRONG("encode")
def encode_skip_unknown(documents, vocabulary, length):
    """Leave unknown tokens out."""
    known = [[w for w in document if w in vocabulary] for document in documents]
    return _encode(known, vocabulary, length)


@WRONG("encode")
def encode_longest(documents, vocabulary, length):
    """Pad to the longest text instead of the given length."""
    return _encode(documents, vocabulary, max(map(len, documents)))


@WRONG("encode")
def encode_in_place(documents, vocabulary, length):
    """Cut the given lists themselves."""
    for document in documents:
        del document[:-length]
    return _encode(documents, vocabulary, length)


@RIGHT("masked_average")
def mean_layer(ids, table):
    """Keras' pooling with a mask, which gives NaN for an empty row, repaired."""
    ids = tf.convert_to_tensor(ids)
    mean = layers.GlobalAveragePooling1D()(tf.gather(table, ids), mask=ids != 0)
    return tf.where(tf.reduce_any(ids != 0, 1, keepdims=True), mean, 0.0)


@RIGHT("masked_average")
def mean_counted(ids, table):
    """How often each number occurs in a row, times the table."""
    ids, table = np.asarray(ids), np.asarray(table)
    counts = np.stack([np.bincount(row, minlength=len(table)) for row in ids]).astype("float32")
    counts[:, 0] = 0
    return counts @ table / np.maximum(counts.sum(1, keepdims=True), 1)


@RIGHT("masked_average")
@tf.function
def mean_weighted(ids, table):
    """Weights that sum to one, inside a tf.function."""
    m = tf.cast(tf.sign(ids), tf.float32)
    weights = m / tf.maximum(tf.reduce_sum(m, 1, keepdims=True), 1)
    return tf.einsum("bt,btd->bd", weights, tf.nn.embedding_lookup(table, ids))


@WRONG("masked_average")
def mean_with_padding(ids, table):
    """Average over padding as well."""
    return tf.reduce_mean(tf.gather(table, ids), axis=1)


@WRONG("masked_average")
def mean_over_length(ids, table):
    """Divide by the length instead of the number of tokens."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.reduce_mean(m * tf.gather(table, ids), axis=1)


@WRONG("masked_average")
def mean_unmasked_sum(ids, table):
    """Mask the denominator only."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.math.divide_no_nan(tf.reduce_sum(tf.gather(table, ids), axis=1), tf.reduce_sum(m, axis=1))


@WRONG("masked_average")
def mean_sum(ids, table):
    """Add without dividing."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.reduce_sum(m * tf.gather(table, ids), axis=1)


@WRONG("masked_average")
def mean_nan(ids, table):
    """Divide by zero where there is only padding."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return mean_sum(ids, table) / tf.reduce_sum(m, axis=1)


@WRONG("masked_average")
def mean_leading(ids, table):
    """Take padding to stand at the end only."""
    e, n = np.asarray(table)[np.asarray(ids)], np.count_nonzero(ids, axis=1)
    return np.array([row[:k].mean(0) if k else 0 * row[0] for row, k in zip(e, n, strict=True)], np.float32)


@WRONG("masked_average")
def mean_float64(ids, table):
    """Return float64."""
    m = np.not_equal(ids, 0)[..., None]
    e = np.asarray(table, float)[np.asarray(ids)]
    return (m * e).sum(1) / np.maximum(m.sum(1), 1)


@WRONG("masked_average")
def mean_in_place(ids, table):
    """Clear the row of padding in the given table."""
    e = np.asarray(table)[np.asarray(ids)]
    if isinstance(table, np.ndarray):
        table[0] = 0
    return (
        np.nan_to_num(e.sum(1, where=np.not_equal(ids, 0)[..., None])).astype(np.float32)
        / np.maximum(np.count_nonzero(ids, axis=1), 1).astype(np.float32)[:, None]
    )


def _model(vocab_size, dim, dropout, pool=None, mask=True, **head):
    pool = layers.GlobalAveragePooling1D() if pool is None else pool
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(vocab_size, dim, mask_zero=mask),
            pool,
            layers.Dropout(dropout),
            layers.Dense(**({"units": 1} | head)),
        ]
    )


RIGHT("build_classifier")(_model)


@RIGHT("build_classifier")
def model_functional(vocab_size, dim, dropout):
    """The mean by keras.ops from a mask of its own; the number 0 has a row as any other."""
    ids = keras.Input((None,), dtype="int32")
    mask = keras.ops.cast(keras.ops.not_equal(ids, 0), "float32")[..., None]
    e = layers.Embedding(vocab_size, dim)(ids)
    h = keras.ops.sum(e * mask, axis=1) / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)
    return keras.Model(ids, layers.Dense(1)(layers.Dropout(dropout)(h)))


class _Subclassed(keras.Model):
    def __init__(self, vocab_size, dim, dropout):
        super().__init__()
        self.table = layers.Embedding(vocab_size, dim, mask_zero=True)
        self.pool, self.drop, self.head = (
            layers.GlobalAveragePooling1D(),
            layers.Dropout(dropout),
            layers.Dense(1),
        )

    def call(self, ids, training=False):
        h = self.pool(self.table(ids), mask=self.table.compute_mask(ids))
        return self.head(self.drop(h, training=training))


RIGHT("build_classifier")(_Subclassed)

WRONG.add("build_classifier", _model, "Forget the mask.", mask=False)
WRONG.add("build_classifier", _model, "Return probabilities.", activation="sigmoid")
WRONG.add("build_classifier", _model, "Return one logit per class.", units=2)
WRONG.add("build_classifier", _model, "Pool by the maximum.", pool=layers.GlobalMaxPooling1D())


@WRONG("build_classifier")
def model_no_dropout(vocab_size, dim, dropout):
    """Leave dropout out."""
    return _model(vocab_size, dim, 0.0)


def _reordered(vocab_size, *rest):
    inputs = keras.Input((None,), dtype="int32")
    h = layers.Embedding(vocab_size, rest[0], mask_zero=True)(inputs)
    for layer in rest[1:]:
        h = layer(h)
    return keras.Model(inputs, h)


@WRONG("build_classifier")
def model_early_dropout(vocab_size, dim, dropout):
    """Drop parts of the embeddings instead of the mean."""
    pool = layers.GlobalAveragePooling1D()
    return _reordered(vocab_size, dim, layers.Dropout(dropout), pool, layers.Dense(1))


@WRONG("build_classifier")
def model_late_dropout(vocab_size, dim, dropout):
    """Drop the logit."""
    pool = layers.GlobalAveragePooling1D()
    return _reordered(vocab_size, dim, pool, layers.Dense(1), layers.Dropout(dropout))


@WRONG("build_classifier")
def model_larger_table(vocab_size, dim, dropout):
    """Count the two reserved numbers once more."""
    return _model(vocab_size + 2, dim, dropout)


WRONG.add("build_classifier", _model, "Leave the bias out.", use_bias=False)


@WRONG("build_classifier")
def model_fixed_length(vocab_size, dim, dropout):
    """Take texts of one length only."""
    inputs = keras.Input((10,), dtype="int32")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(vocab_size, dim, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(1)(layers.Dropout(dropout)(h)))


@functools.cache
def _baseline(model, **options):
    (texts, labels), _ = data.nsmc(train=pick(small=None, full=4000))
    chars = TfidfVectorizer(analyzer="char_wb", **options)
    return make_pipeline(chars, model).fit([_clean(text) for text in texts], labels)


def _scores(texts):
    return _baseline(LINEAR, ngram_range=(1, 4)).decision_function([_clean(text) for text in texts])


@RIGHT("predict_reviews")
def predict_linear(texts):
    """A linear model of weighted letter groups."""
    return _scores(texts)


@RIGHT("predict_reviews")
def predict_bayes(texts):
    """Naive Bayes; a tensor returned."""
    odds = _baseline(BAYES, ngram_range=(1, 3)).predict_log_proba([_clean(text) for text in texts])
    return tf.constant(odds[:, 1] - odds[:, 0], tf.float32)


@functools.cache
def _public():
    train, test = data.nsmc(test=pick(small=None, full=2000))
    return [*train[0], *test[0]], np.concatenate([train[1], test[1]])


@WRONG("predict_reviews")
def predict_looked_up(texts):
    """Look the cleaned reviews up in the public sets."""
    known = {_clean(text): label for text, label in zip(*_public(), strict=True)}
    return np.array([4.0 * known.get(_clean(text), 0) - 2 for text in texts])


@WRONG("predict_reviews")
def predict_zero(texts):
    """Say the same about every review."""
    return np.zeros(len(texts))


@WRONG("predict_reviews")
def predict_words(texts):
    """Count a few words of praise and blame."""
    good, bad = ("좋", "최고", "추천"), ("최악", "별로", "지루")
    return np.array([sum(map(t.count, good)) - sum(map(t.count, bad)) - 0.1 for t in texts])


@WRONG("predict_reviews")
def predict_flipped(texts):
    """Take class 0 for praise."""
    return -_scores(texts)


@WRONG("predict_reviews")
def predict_probabilities(texts):
    """Return probabilities."""
    return 1 / (1 + np.exp(-_scores(texts)))


@WRONG("predict_reviews")
def predict_column(texts):
    """Return a column."""
    return _scores(texts)[:, None]


@WRONG("predict_reviews")
def predict_raw(texts):
    """Forget to clean the texts before predicting."""
    return _baseline(LINEAR, ngram_range=(1, 4)).decision_function(texts)


@WRONG("predict_reviews")
def predict_centred(texts):
    """Subtract the mean of the batch, so that a review's logit depends on the others."""
    return _scores(texts) - _scores(texts).mean()


@WRONG("predict_reviews")
def predict_sorted(texts):
    """Return the logits in the order of the sorted texts."""
    return _scores(sorted(texts))


def _parts(ids, table, kernel):
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)
    return m * tf.gather(tf.matmul(table, kernel), ids)[..., 0], m


@RIGHT("contributions")
def parts_scores(ids, table, kernel):
    """A score per number first, then looked up; NumPy."""
    ids, scores = np.asarray(ids), (np.asarray(table) @ np.asarray(kernel))[:, 0]
    m = ids != 0
    return np.where(m, scores[ids] / np.maximum(m.sum(1, keepdims=True), 1), 0.0).astype("float32")


@RIGHT("contributions")
def parts_gradient(ids, table, kernel):
    """Embedding times gradient of the logit, by a tape."""
    e = tf.gather(tf.convert_to_tensor(table), ids)
    with tf.GradientTape() as tape:
        tape.watch(e)
        m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
        z = tf.math.divide_no_nan(tf.reduce_sum(m * e, 1), tf.reduce_sum(m, 1)) @ kernel
    return tf.reduce_sum(e * tape.gradient(z, e), axis=-1)


@RIGHT("contributions")
def parts_divided(ids, table, kernel):
    """Weights first, then the product of all three."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)
    weights = tf.math.divide_no_nan(m, tf.reduce_sum(m, axis=1, keepdims=True))
    return tf.einsum("bt,btd,dk->bt", weights, tf.gather(table, ids), kernel)


@WRONG("contributions")
def parts_over_length(ids, table, kernel):
    """Divide by the length instead of the number of tokens."""
    return _parts(ids, table, kernel)[0] / np.shape(ids)[1]


@WRONG("contributions")
def parts_undivided(ids, table, kernel):
    """Leave the division out."""
    return _parts(ids, table, kernel)[0]


@WRONG("contributions")
def parts_with_padding(ids, table, kernel):
    """Give padding a part, too."""
    m = _parts(ids, table, kernel)[1]
    scores = tf.gather(tf.matmul(table, kernel), ids)[..., 0]
    return tf.math.divide_no_nan(scores, tf.reduce_sum(m, axis=1, keepdims=True))


@WRONG("contributions")
def parts_nan(ids, table, kernel):
    """Divide by zero where there is only padding."""
    scores, m = _parts(ids, table, kernel)
    return scores / tf.reduce_sum(m, axis=1, keepdims=True)


@WRONG("contributions")
def parts_batch_count(ids, table, kernel):
    """Divide by the number of tokens of the whole batch."""
    scores, m = _parts(ids, table, kernel)
    return scores / tf.maximum(tf.reduce_sum(m), 1)


@WRONG("contributions")
def parts_column(ids, table, kernel):
    """Keep the last axis."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(scores, tf.reduce_sum(m, axis=1, keepdims=True))[..., None]


@WRONG("contributions")
def parts_summed(ids, table, kernel):
    """Return the logit instead of its parts."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(tf.reduce_sum(scores, axis=1), tf.reduce_sum(m, axis=1))


@WRONG("contributions")
def parts_absolute(ids, table, kernel):
    """Lose the sign."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(tf.abs(scores), tf.reduce_sum(m, axis=1, keepdims=True))
