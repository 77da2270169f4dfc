"""Wrong answers to practice 6.2; every one of them must be marked ❌."""

import functools
import re
import unicodedata
from collections import Counter

import numpy as np
import tensorflow as tf

keras, layers = tf.keras, tf.keras.layers


def _collapse(text, pattern=r"([^\s0-9])\1{2,}"):
    return re.sub(pattern, r"\1\1", text)


def _right_clean(text):
    return " ".join(_collapse(unicodedata.normalize("NFC", text)).split())


def clean_without_nfc(text):
    """Leave the text decomposed."""
    return " ".join(_collapse(text).split())


def clean_nfc_last(text):
    """Compose only after collapsing, too late for decomposed syllables."""
    return unicodedata.normalize("NFC", " ".join(_collapse(text).split()))


def clean_nfkc(text):
    """Use NFKC, which replaces the compatibility jamo."""
    return " ".join(_collapse(unicodedata.normalize("NFKC", text)).split())


def clean_digits(text):
    """Collapse digits as well."""
    return " ".join(_collapse(unicodedata.normalize("NFC", text), r"(\S)\1{2,}").split())


def clean_to_one(text):
    """Keep one letter instead of two."""
    text = re.sub(r"([^\s0-9])\1{2,}", r"\1", unicodedata.normalize("NFC", text))
    return " ".join(text.split())


def clean_only_hangul(text):
    """Collapse Hangul only."""
    return " ".join(_collapse(unicodedata.normalize("NFC", text), r"([ㄱ-ㅣ가-힣])\1{2,}").split())


def clean_only_spaces(text):
    """Collapse spaces, not tabs or line breaks."""
    return re.sub(" +", " ", _collapse(unicodedata.normalize("NFC", text))).strip(" ")


def clean_no_strip(text):
    """Leave a space at both ends."""
    return re.sub(r"\s+", " ", _collapse(unicodedata.normalize("NFC", text)))


def tokens_no_cache(texts, tagger, keep, cache):
    """Never look into the cache."""
    for text in texts:
        cache[text] = tagger.pos(text, norm=True, stem=True)
    return [[f"{m}/{p}" for m, p in cache[text] if p in keep] for text in texts]


def tokens_empty_cache(texts, tagger, keep, cache):
    """Analyse each text but never fill the cache."""
    return [[f"{m}/{p}" for m, p in tagger.pos(t, norm=True, stem=True) if p in keep] for t in texts]


def tokens_cache_filtered(texts, tagger, keep, cache):
    """Cache the filtered tokens, wrong for another set of parts of speech."""
    for text in texts:
        if text not in cache:
            cache[text] = [f"{m}/{p}" for m, p in tagger.pos(text, norm=True, stem=True) if p in keep]
    return [cache[text] for text in texts]


def tokens_empty_again(texts, tagger, keep, cache):
    """Analyse a text again if nothing was found in it."""
    for text in texts:
        if text not in cache or not cache[text]:
            cache[text] = tagger.pos(text, norm=True, stem=True)
    return [[f"{m}/{p}" for m, p in cache[text] if p in keep] for text in texts]


def _tokens(texts, tagger, keep, cache, options, form="{}/{}"):
    for text in texts:
        if text not in cache:
            cache[text] = tagger.pos(text, **options)
    return [[form.format(m, p) for m, p in cache[text] if p in keep] for text in texts]


def tokens_no_stem(texts, tagger, keep, cache):
    """Leave the inflected forms."""
    return _tokens(texts, tagger, keep, cache, {"norm": True})


def tokens_no_norm(texts, tagger, keep, cache):
    """Forget norm."""
    return _tokens(texts, tagger, keep, cache, {"stem": True})


def tokens_no_tag(texts, tagger, keep, cache):
    """Return morphemes without their part of speech."""
    return _tokens(texts, tagger, keep, cache, {"norm": True, "stem": True}, form="{}")


def tokens_dropped(texts, tagger, keep, cache):
    """Drop the chosen parts of speech instead of keeping them."""
    rows = _tokens(
        texts,
        tagger,
        {"Noun", "Verb", "Josa", "Adjective", "Determiner"},
        cache,
        {"norm": True, "stem": True},
    )
    return [[token for token in row if token.split("/")[1] not in keep] for row in rows]


def tokens_skip_empty(texts, tagger, keep, cache):
    """Leave out texts of which nothing is left."""
    return [row for row in _tokens(texts, tagger, keep, cache, {"norm": True, "stem": True}) if row]


def _counts(documents):
    return Counter(w for document in documents for w in document)


def _numbered(ranked, start=2):
    return {w: i for i, w in enumerate(ranked, start=start)}


def vocabulary_most_common(documents, min_count, max_size):
    """Break ties by first appearance."""
    return _numbered([w for w, c in _counts(documents).most_common() if c >= min_count][:max_size])


def vocabulary_keras(documents, min_count, max_size):
    """Break ties in descending order, as Keras does."""
    counts = _counts(documents)
    ranked = sorted(counts, key=lambda w: (counts[w], w), reverse=True)
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size])


def vocabulary_documents(documents, min_count, max_size):
    """Count reviews instead of occurrences."""
    counts = Counter(w for document in documents for w in set(document))
    ranked = sorted(counts, key=lambda w: (-counts[w], w))
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size])


def _vocabulary(documents, min_count, max_size, start=2):
    counts = _counts(documents)
    ranked = sorted(counts, key=lambda w: (-counts[w], w))
    return _numbered([w for w in ranked if counts[w] >= min_count][:max_size], start)


def vocabulary_from_zero(documents, min_count, max_size):
    """Start at 0, the number of padding."""
    return _vocabulary(documents, min_count, max_size, start=0)


def vocabulary_from_one(documents, min_count, max_size):
    """Start at 1, the number of unknown tokens."""
    return _vocabulary(documents, min_count, max_size, start=1)


def vocabulary_strict(documents, min_count, max_size):
    """Ask for more than the minimum."""
    return _vocabulary(documents, min_count + 1, max_size)


def vocabulary_two_less(documents, min_count, max_size):
    """Count the two reserved numbers in the size."""
    return _vocabulary(documents, min_count, None if max_size is None else max(0, max_size - 2))


def vocabulary_list(documents, min_count, max_size):
    """Return a list."""
    return list(_vocabulary(documents, min_count, max_size))


def _encode(documents, vocabulary, length, unknown=1, empty=(1,), **options):
    ids = [[vocabulary.get(w, unknown) for w in document] or list(empty) for document in documents]
    return keras.utils.pad_sequences(ids, length, **({"padding": "post", "truncating": "pre"} | options))


def encode_keep_front(documents, vocabulary, length):
    """Keep the first tokens of a long text."""
    return _encode(documents, vocabulary, length, truncating="post")


def encode_pad_front(documents, vocabulary, length):
    """Pad in front."""
    return _encode(documents, vocabulary, length, padding="pre")


def encode_unknown_zero(documents, vocabulary, length):
    """Give unknown tokens the number of padding."""
    return _encode(documents, vocabulary, length, unknown=0)


def encode_empty_zero(documents, vocabulary, length):
    """Leave an empty text empty."""
    return _encode(documents, vocabulary, length, empty=())


def encode_int64(documents, vocabulary, length):
    """Return int64."""
    return _encode(documents, vocabulary, length, dtype="int64")


def encode_skip_unknown(documents, vocabulary, length):
    """Leave unknown tokens out."""
    known = [[w for w in document if w in vocabulary] for document in documents]
    return _encode(known, vocabulary, length)


def encode_longest(documents, vocabulary, length):
    """Pad to the longest text instead of the given length."""
    return _encode(documents, vocabulary, max(map(len, documents)))


def encode_in_place(documents, vocabulary, length):
    """Cut the given lists themselves."""
    for document in documents:
        del document[:-length]
    return _encode(documents, vocabulary, length)


def mean_with_padding(ids, table):
    """Average over padding as well."""
    return tf.reduce_mean(tf.gather(table, ids), axis=1)


def mean_over_length(ids, table):
    """Divide by the length instead of the number of tokens."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.reduce_mean(m * tf.gather(table, ids), axis=1)


def mean_unmasked_sum(ids, table):
    """Mask the denominator only."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.math.divide_no_nan(tf.reduce_sum(tf.gather(table, ids), axis=1), tf.reduce_sum(m, axis=1))


def mean_sum(ids, table):
    """Add without dividing."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return tf.reduce_sum(m * tf.gather(table, ids), axis=1)


def mean_nan(ids, table):
    """Divide by zero where there is only padding."""
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)[..., None]
    return mean_sum(ids, table) / tf.reduce_sum(m, axis=1)


def mean_leading(ids, table):
    """Take padding to stand at the end only."""
    e, n = np.asarray(table)[np.asarray(ids)], np.count_nonzero(ids, axis=1)
    return np.array([row[:k].mean(0) if k else 0 * row[0] for row, k in zip(e, n, strict=True)], np.float32)


def mean_float64(ids, table):
    """Return float64."""
    m = np.not_equal(ids, 0)[..., None]
    e = np.asarray(table, float)[np.asarray(ids)]
    return (m * e).sum(1) / np.maximum(m.sum(1), 1)


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


def model_no_mask(vocab_size, dim, dropout):
    """Forget the mask."""
    return _model(vocab_size, dim, dropout, mask=False)


def model_sigmoid(vocab_size, dim, dropout):
    """Return probabilities."""
    return _model(vocab_size, dim, dropout, activation="sigmoid")


def model_two_outputs(vocab_size, dim, dropout):
    """Return one logit per class."""
    return _model(vocab_size, dim, dropout, units=2)


def model_max(vocab_size, dim, dropout):
    """Pool by the maximum."""
    return _model(vocab_size, dim, dropout, pool=layers.GlobalMaxPooling1D())


def model_no_dropout(vocab_size, dim, dropout):
    """Leave dropout out."""
    return _model(vocab_size, dim, 0.0)


def _reordered(vocab_size, *rest):
    inputs = keras.Input((None,), dtype="int32")
    h = layers.Embedding(vocab_size, rest[0], mask_zero=True)(inputs)
    for layer in rest[1:]:
        h = layer(h)
    return keras.Model(inputs, h)


def model_early_dropout(vocab_size, dim, dropout):
    """Drop parts of the embeddings instead of the mean."""
    pool = layers.GlobalAveragePooling1D()
    return _reordered(vocab_size, dim, layers.Dropout(dropout), pool, layers.Dense(1))


def model_late_dropout(vocab_size, dim, dropout):
    """Drop the logit."""
    pool = layers.GlobalAveragePooling1D()
    return _reordered(vocab_size, dim, pool, layers.Dense(1), layers.Dropout(dropout))


def model_larger_table(vocab_size, dim, dropout):
    """Count the two reserved numbers once more."""
    return _model(vocab_size + 2, dim, dropout)


def model_no_bias(vocab_size, dim, dropout):
    """Leave the bias out."""
    return _model(vocab_size, dim, dropout, use_bias=False)


def model_fixed_length(vocab_size, dim, dropout):
    """Take texts of one length only."""
    inputs = keras.Input((10,), dtype="int32")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(vocab_size, dim, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(1)(layers.Dropout(dropout)(h)))


@functools.cache
def _baseline():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from tf_study import data

    (texts, labels), _ = data.nsmc(train=800)
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    return make_pipeline(chars, LogisticRegression(C=10)).fit([_right_clean(text) for text in texts], labels)


def _scores(texts):
    return _baseline().decision_function([_right_clean(text) for text in texts])


def predict_zero(texts):
    """Say the same about every review."""
    return np.zeros(len(texts))


def predict_words(texts):
    """Count a few words of praise and blame."""
    good, bad = ("좋", "최고", "추천"), ("최악", "별로", "지루")
    return np.array([sum(map(t.count, good)) - sum(map(t.count, bad)) - 0.1 for t in texts])


def predict_flipped(texts):
    """Take class 0 for praise."""
    return -_scores(texts)


def predict_probabilities(texts):
    """Return probabilities."""
    return 1 / (1 + np.exp(-_scores(texts)))


def predict_column(texts):
    """Return a column."""
    return _scores(texts)[:, None]


def predict_raw(texts):
    """Forget to clean the texts before predicting."""
    return _baseline().decision_function(texts)


def predict_centred(texts):
    """Subtract the mean of the batch, so that a review's logit depends on the others."""
    return _scores(texts) - _scores(texts).mean()


def predict_sorted(texts):
    """Return the logits in the order of the sorted texts."""
    return _scores(sorted(texts))


def _parts(ids, table, kernel):
    m = tf.cast(tf.not_equal(ids, 0), tf.float32)
    return m * tf.gather(tf.matmul(table, kernel), ids)[..., 0], m


def parts_over_length(ids, table, kernel):
    """Divide by the length instead of the number of tokens."""
    return _parts(ids, table, kernel)[0] / np.shape(ids)[1]


def parts_undivided(ids, table, kernel):
    """Leave the division out."""
    return _parts(ids, table, kernel)[0]


def parts_with_padding(ids, table, kernel):
    """Give padding a part, too."""
    m = _parts(ids, table, kernel)[1]
    scores = tf.gather(tf.matmul(table, kernel), ids)[..., 0]
    return tf.math.divide_no_nan(scores, tf.reduce_sum(m, axis=1, keepdims=True))


def parts_nan(ids, table, kernel):
    """Divide by zero where there is only padding."""
    scores, m = _parts(ids, table, kernel)
    return scores / tf.reduce_sum(m, axis=1, keepdims=True)


def parts_batch_count(ids, table, kernel):
    """Divide by the number of tokens of the whole batch."""
    scores, m = _parts(ids, table, kernel)
    return scores / tf.maximum(tf.reduce_sum(m), 1)


def parts_column(ids, table, kernel):
    """Keep the last axis."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(scores, tf.reduce_sum(m, axis=1, keepdims=True))[..., None]


def parts_summed(ids, table, kernel):
    """Return the logit instead of its parts."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(tf.reduce_sum(scores, axis=1), tf.reduce_sum(m, axis=1))


def parts_absolute(ids, table, kernel):
    """Lose the sign."""
    scores, m = _parts(ids, table, kernel)
    return tf.math.divide_no_nan(tf.abs(scores), tf.reduce_sum(m, axis=1, keepdims=True))


WRONG = {
    "normalize_review": [
        clean_without_nfc,
        clean_nfc_last,
        clean_nfkc,
        clean_digits,
        clean_to_one,
        clean_only_hangul,
        clean_only_spaces,
        clean_no_strip,
    ],
    "morphemes": [
        tokens_no_cache,
        tokens_empty_cache,
        tokens_cache_filtered,
        tokens_empty_again,
        tokens_no_stem,
        tokens_no_norm,
        tokens_no_tag,
        tokens_dropped,
        tokens_skip_empty,
    ],
    "build_vocabulary": [
        vocabulary_most_common,
        vocabulary_keras,
        vocabulary_documents,
        vocabulary_from_zero,
        vocabulary_from_one,
        vocabulary_strict,
        vocabulary_two_less,
        vocabulary_list,
    ],
    "encode": [
        encode_keep_front,
        encode_pad_front,
        encode_unknown_zero,
        encode_empty_zero,
        encode_int64,
        encode_skip_unknown,
        encode_longest,
        encode_in_place,
    ],
    "masked_average": [
        mean_with_padding,
        mean_over_length,
        mean_unmasked_sum,
        mean_sum,
        mean_nan,
        mean_leading,
        mean_float64,
        mean_in_place,
    ],
    "build_classifier": [
        model_no_mask,
        model_sigmoid,
        model_two_outputs,
        model_max,
        model_no_dropout,
        model_early_dropout,
        model_late_dropout,
        model_larger_table,
        model_no_bias,
        model_fixed_length,
    ],
    "predict_reviews": [
        predict_zero,
        predict_words,
        predict_flipped,
        predict_probabilities,
        predict_column,
        predict_raw,
        predict_centred,
        predict_sorted,
    ],
    "contributions": [
        parts_over_length,
        parts_undivided,
        parts_with_padding,
        parts_nan,
        parts_batch_count,
        parts_column,
        parts_summed,
        parts_absolute,
    ],
}
