"""Answers to practice 1.1: tensors, gradients and a Newton step."""

import numpy as np
import tensorflow as tf
from tensorflow import GradientTape

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


@RIGHT("label_scores")
def scores_gathered_by_pairs(scores, labels):
    """gather_nd with (row, label) pairs; the one-hot rows from a comparison."""
    rows = tf.range(tf.shape(labels)[0], dtype=labels.dtype)
    classes = tf.range(scores.shape[1], dtype=labels.dtype)
    one_hot = tf.cast(labels[:, None] == classes, tf.float32)
    return tf.gather_nd(scores, tf.stack([rows, labels], axis=1)), one_hot


@RIGHT("label_scores")
def scores_masked(scores, labels):
    """Add up after a where, which does not multiply minus infinity by 0; returned as a list."""
    one_hot = tf.one_hot(labels, scores.shape[-1])
    return [tf.reduce_sum(tf.where(one_hot > 0, scores, 0.0), axis=1), one_hot]


@RIGHT("label_scores")
@tf.function
def scores_flat(scores, labels):
    """Rows of the identity matrix, and positions in the flat scores, inside a tf.function."""
    depth = scores.shape[1]
    rows = tf.range(tf.shape(labels)[0]) * depth
    picked = tf.gather(tf.reshape(scores, [-1]), rows + tf.cast(labels, tf.int32))
    return picked, tf.gather(tf.eye(depth), labels)


@WRONG("label_scores")
def scores_rows_gathered(scores, labels):
    """Gather along axis 0: whole rows instead of one score a row."""
    return tf.gather(scores, labels), tf.one_hot(labels, scores.shape[1])


@WRONG("label_scores")
def scores_no_batch_dims(scores, labels):
    """Gather along axis 1 without batch_dims: (N, N)."""
    return tf.gather(scores, labels, axis=1), tf.one_hot(labels, scores.shape[1])


@WRONG("label_scores")
def scores_by_product(scores, labels):
    """Multiply by the one-hot rows: 0 times -inf is NaN."""
    one_hot = tf.one_hot(labels, scores.shape[1])
    return tf.reduce_sum(scores * one_hot, axis=1), one_hot


@WRONG("label_scores")
def scores_largest(scores, labels):
    """Take the largest score instead of the labelled one."""
    return tf.reduce_max(scores, axis=1), tf.one_hot(labels, scores.shape[1])


@WRONG("label_scores")
def scores_depth_from_labels(scores, labels):
    """Take the number of classes from the largest label."""
    depth = tf.cast(tf.reduce_max(labels), tf.int32) + 1
    return tf.gather(scores, labels, axis=1, batch_dims=1), tf.one_hot(labels, depth)


@WRONG("label_scores")
def scores_one_hot_columns(scores, labels):
    """One-hot along axis 0: (C, N)."""
    return tf.gather(scores, labels, axis=1, batch_dims=1), tf.one_hot(labels, scores.shape[1], axis=0)


@WRONG("label_scores")
def scores_integer_one_hot(scores, labels):
    """One-hot of integers instead of float32."""
    one_hot = tf.one_hot(labels, scores.shape[1], dtype=tf.int32)
    return tf.gather(scores, labels, axis=1, batch_dims=1), one_hot


@WRONG("label_scores")
def scores_labels_from_one(scores, labels):
    """Count the labels from 1."""
    picked = tf.gather(scores, tf.maximum(labels - 1, 0), axis=1, batch_dims=1)
    return picked, tf.one_hot(labels - 1, scores.shape[1])


@WRONG("label_scores")
def scores_only_picked(scores, labels):
    """Return the scores without the one-hot rows."""
    return tf.gather(scores, labels, axis=1, batch_dims=1)


@WRONG("label_scores")
def scores_swapped(scores, labels):
    """Return the two results in the wrong order."""
    return tf.one_hot(labels, scores.shape[1]), tf.gather(scores, labels, axis=1, batch_dims=1)


@WRONG("label_scores")
def scores_example(scores, labels):
    """Hard-coded for the example."""
    return tf.constant([0.7, 0.5]), tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@WRONG("label_scores")
def scores_numpy_function(scores, labels):
    """Right values by tf.numpy_function."""
    one_hot = tf.one_hot(labels, scores.shape[1])
    picked = tf.numpy_function(lambda s, k: s[np.arange(len(s)), k], [scores, labels], tf.float32)
    return picked, one_hot


@WRONG("label_scores")
def scores_loop(scores, labels):
    """Right values from a Python loop over the rows."""
    picked = tf.stack([scores[i, labels[i]] for i in range(scores.shape[0])])
    return picked, tf.one_hot(labels, scores.shape[1])


@RIGHT("crop_and_flip")
def crop_by_image_functions(images, top, left, height, width, flip):
    """TensorFlow's image functions, chosen by a reshaped flag."""
    crop = tf.image.crop_to_bounding_box(images, top, left, height, width)
    return tf.where(tf.reshape(flip, (-1, 1, 1, 1)), tf.image.flip_left_right(crop), crop)


@RIGHT("crop_and_flip")
def crop_by_index(images, top, left, height, width, flip):
    """Gather columns whose numbers run backwards where asked."""
    columns = tf.range(width)
    columns = left + tf.where(flip[:, None], width - 1 - columns, columns)  # (B, w)
    rows = tf.gather(images, tf.range(top, top + height), axis=1)
    return tf.gather(rows, columns, axis=2, batch_dims=1)


@RIGHT("crop_and_flip")
def crop_by_strided_slice(images, top, left, height, width, flip):
    """Mirror first and cut the mirrored place."""
    right = images.shape[2] - left - width
    mirrored = tf.reverse(images, axis=[2])[:, :, right : right + width]
    chosen = tf.where(flip[:, None, None, None], mirrored, images[:, :, left : left + width])
    return chosen[:, top : top + height]


@WRONG("crop_and_flip")
def crop_flips_all(images, top, left, height, width, flip):
    """Flip every image, whatever the flags say."""
    return images[:, top : top + height, left : left + width][:, :, ::-1]


@WRONG("crop_and_flip")
def crop_ignores_flip(images, top, left, height, width, flip):
    """Never flip."""
    return images[:, top : top + height, left : left + width]


@WRONG("crop_and_flip")
def crop_flips_vertically(images, top, left, height, width, flip):
    """Flip upside down instead of left to right."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip[:, None, None, None], crop[:, ::-1], crop)


@WRONG("crop_and_flip")
def crop_flips_channels(images, top, left, height, width, flip):
    """Reverse the channels (axis 3) instead of the columns."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip[:, None, None, None], crop[..., ::-1], crop)


@WRONG("crop_and_flip")
def crop_flips_first(images, top, left, height, width, flip):
    """Flip before the crop: another part of the image."""
    mirrored = tf.where(flip[:, None, None, None], images[:, :, ::-1], images)
    return mirrored[:, top : top + height, left : left + width]


@WRONG("crop_and_flip")
def crop_end_as_size(images, top, left, height, width, flip):
    """Use height and width as end positions."""
    crop = images[:, top:height, left:width]
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


@WRONG("crop_and_flip")
def crop_axes_swapped(images, top, left, height, width, flip):
    """Swap rows and columns."""
    crop = images[:, left : left + width, top : top + height]
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


@WRONG("crop_and_flip")
def crop_flag_on_columns(images, top, left, height, width, flip):
    """Broadcast the flags along the channels instead of the batch: right only if the shapes agree by luck."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip, crop[:, :, ::-1], crop)


@WRONG("crop_and_flip")
def crop_as_float(images, top, left, height, width, flip):
    """Turn bytes into float32."""
    crop = tf.cast(images[:, top : top + height, left : left + width], tf.float32)
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


@WRONG("crop_and_flip")
def crop_loop(images, top, left, height, width, flip):
    """Right values from a Python loop over the batch."""
    crop = images[:, top : top + height, left : left + width]
    return tf.stack([tf.where(flip[i], crop[i, :, ::-1], crop[i]) for i in range(crop.shape[0])])


@WRONG("crop_and_flip")
def crop_map(images, top, left, height, width, flip):
    """Right values from tf.map_fn."""
    crop = images[:, top : top + height, left : left + width]
    return tf.map_fn(
        lambda pair: tf.where(pair[1], pair[0][:, ::-1], pair[0]),
        (crop, flip),
        fn_output_signature=crop.dtype,
    )


@RIGHT("pairwise_distances")
def distances_by_norm(x, y):
    """Subtract the other way round and let tf.norm do the rest."""
    return tf.norm(y - tf.expand_dims(x, 1), axis=2)


@RIGHT("pairwise_distances")
def distances_by_einsum(x, y):
    """Square and add by einsum."""
    difference = x[:, tf.newaxis] - y
    return tf.einsum("nmk,nmk->nm", difference, difference) ** 0.5


@RIGHT("pairwise_distances")
@tf.function
def distances_tiled(x, y):
    """Repeat both to the same shape, inside a tf.function."""
    left, right = tf.repeat(x, len(y), axis=0), tf.tile(y, (len(x), 1))
    squared = tf.reduce_sum(tf.math.squared_difference(left, right), axis=1)
    return tf.reshape(tf.sqrt(squared), (len(x), len(y)))


@WRONG("pairwise_distances")
def distances_squared(x, y):
    """Forget the square root."""
    return tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=-1)


@WRONG("pairwise_distances")
def distances_city_block(x, y):
    """Add absolute differences."""
    return tf.reduce_sum(tf.abs(x[:, None] - y[None]), axis=-1)


@WRONG("pairwise_distances")
def distances_mean(x, y):
    """Average over the coordinates instead of adding."""
    return tf.sqrt(tf.reduce_mean((x[:, None] - y[None]) ** 2, axis=-1))


@WRONG("pairwise_distances")
def distances_transposed(x, y):
    """Rows for y, columns for x."""
    return tf.norm(y[:, None] - x[None], axis=-1)


@WRONG("pairwise_distances")
def distances_wrong_axis(x, y):
    """Add over the points of y instead of the coordinates."""
    return tf.sqrt(tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=1))


@WRONG("pairwise_distances")
def distances_rowwise(x, y):
    """Subtract row by row: right only where both have the same number of points, and then one axis short."""
    return tf.norm(x - y, axis=-1)


@WRONG("pairwise_distances")
def distances_expanded(x, y):
    """Expand the square: loses all digits far from the origin."""
    squared = tf.reduce_sum(x**2, 1)[:, None] + tf.reduce_sum(y**2, 1)[None] - 2 * x @ tf.transpose(y)
    return tf.sqrt(tf.maximum(squared, 0))


@WRONG("pairwise_distances")
def distances_smoothed(x, y):
    """Add 1e-6 under the root: equal points are no longer at distance 0."""
    return tf.sqrt(tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=-1) + 1e-6)


@WRONG("pairwise_distances")
def distances_loop(x, y):
    """Right values from a Python loop over the points."""
    return tf.stack([tf.norm(x[i] - y, axis=-1) for i in range(x.shape[0])])


@WRONG("pairwise_distances")
def distances_iterated(x, y):
    """Right values from a Python loop over the tensor itself."""
    return tf.stack([tf.norm(row - y, axis=-1) for row in x])


@WRONG("pairwise_distances")
def distances_numpy(x, y):
    """Right values computed by NumPy."""
    return np.linalg.norm(x.numpy()[:, None] - y.numpy()[None], axis=-1)


@WRONG("pairwise_distances")
def distances_py_function(x, y):
    """Right values by tf.py_function."""
    return tf.py_function(lambda x, y: tf.norm(x[:, None] - y[None], axis=-1), [x, y], tf.float32)


@WRONG("pairwise_distances")
def distances_as_double(x, y):
    """Return float64."""
    return tf.norm(tf.cast(x[:, None] - y[None], tf.float64), axis=-1)


@WRONG("pairwise_distances")
def distances_example(x, y):
    """Hard-coded for the example."""
    return tf.constant([[0.0, 4.0, 10.0], [5.0, 3.0, 5.0]])


@RIGHT("mahalanobis")
def mahalanobis_matvec(x, means, precisions):
    """A matrix-vector product for every pair, then a dot product."""
    d = tf.expand_dims(x, 1) - means
    return tf.reduce_sum(tf.linalg.matvec(precisions, d) * d, axis=-1)


@RIGHT("mahalanobis")
def mahalanobis_clusters_first(x, means, precisions):
    """Batched matrix products with the clusters in front."""
    d = x[None] - means[:, None]  # (K, B, D)
    return tf.transpose(tf.reduce_sum(tf.matmul(d, precisions) * d, axis=2))


@RIGHT("mahalanobis")
def mahalanobis_in_two_steps(x, means, precisions):
    """Two einsums."""
    d = x[:, None] - means
    return tf.einsum("bkj,bkj->bk", tf.einsum("bki,kij->bkj", d, precisions), d)


@WRONG("mahalanobis")
def mahalanobis_no_mean(x, means, precisions):
    """Do not subtract the means."""
    return tf.einsum("bi,kij,bj->bk", x, precisions, x)


@WRONG("mahalanobis")
def mahalanobis_euclidean(x, means, precisions):
    """Leave the precision matrices out."""
    return tf.reduce_sum((x[:, None] - means) ** 2, axis=-1)


@WRONG("mahalanobis")
def mahalanobis_diagonal(x, means, precisions):
    """Use the diagonals of the precision matrices only."""
    return tf.einsum("bki,kii->bk", (x[:, None] - means) ** 2, precisions)


@WRONG("mahalanobis")
def mahalanobis_rooted(x, means, precisions):
    """Return the distance instead of its square."""
    d = x[:, None] - means
    return tf.sqrt(tf.einsum("bki,kij,bkj->bk", d, precisions, d))


@WRONG("mahalanobis")
def mahalanobis_transposed(x, means, precisions):
    """Rows for clusters, columns for points."""
    d = x[:, None] - means
    return tf.einsum("bki,kij,bkj->kb", d, precisions, d)


@WRONG("mahalanobis")
def mahalanobis_one_matrix(x, means, precisions):
    """Use the first cluster's matrix for all clusters."""
    d = x[:, None] - means
    return tf.einsum("bki,ij,bkj->bk", d, precisions[0], d)


@WRONG("mahalanobis")
def mahalanobis_all_matrices(x, means, precisions):
    """Add over all matrices: a separate letter for the matrix's cluster axis."""
    d = x[:, None] - means
    return tf.einsum("bki,lij,bkj->bk", d, precisions, d)


@WRONG("mahalanobis")
def mahalanobis_separate_sums(x, means, precisions):
    """Multiply only once by the difference and add the rest up."""
    return tf.einsum("bki,kij->bk", x[:, None] - means, precisions)


@WRONG("mahalanobis")
def mahalanobis_covariance(x, means, precisions):
    """Invert the matrices, as if they were covariances."""
    d = x[:, None] - means
    return tf.einsum("bki,kij,bkj->bk", d, tf.linalg.inv(precisions), d)


@WRONG("mahalanobis")
def mahalanobis_example(x, means, precisions):
    """Hard-coded for the example."""
    return tf.constant([[7.0, 3.0]])


@WRONG("mahalanobis")
def mahalanobis_loop(x, means, precisions):
    """Right values from a Python loop over the clusters."""
    columns = []
    for k in range(means.shape[0]):
        d = x - means[k]
        columns.append(tf.reduce_sum(d @ precisions[k] * d, axis=1))
    return tf.stack(columns, axis=1)


def _means(values, ids, count):
    return tf.math.unsorted_segment_mean(values, ids, count)


@RIGHT("segment_means")
def segments_library(values, ids, count):
    """TensorFlow's own mean, which gives 0 for an empty group."""
    means = _means(values, ids, count)
    return means, values - tf.gather(means, ids)


@RIGHT("segment_means")
def segments_by_matrix(values, ids, count):
    """Products with the one-hot rows."""
    member = tf.one_hot(ids, count)  # (N, S)
    sizes = tf.maximum(tf.reduce_sum(member, axis=0), 1)
    means = tf.matmul(member, values, transpose_a=True) / sizes[:, None]
    return means, values - member @ means


@RIGHT("segment_means")
def segments_scattered(values, ids, count):
    """Add rows to their places; returned as a list."""
    total = tf.scatter_nd(ids[:, None], values, tf.cast((count, values.shape[1]), ids.dtype))
    size = tf.math.bincount(tf.cast(ids, tf.int32), minlength=count, dtype=tf.float32)
    means = tf.math.divide_no_nan(total, size[:, None])
    return [means, values - tf.gather(means, ids)]


@WRONG("segment_means")
def segments_sum(values, ids, count):
    """Sums instead of means."""
    means = tf.math.unsorted_segment_sum(values, ids, count)
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_divided_by_all(values, ids, count):
    """Divide by the number of all rows."""
    means = tf.math.unsorted_segment_sum(values, ids, count) / values.shape[0]
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_zero_division(values, ids, count):
    """0/0 in empty groups."""
    means = tf.math.unsorted_segment_sum(values, ids, count) / tf.math.unsorted_segment_sum(
        tf.ones_like(values), ids, count
    )
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_smoothed_counts(values, ids, count):
    """Add 1 to the counts against the division by zero."""
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(values), ids, count)
    means = tf.math.unsorted_segment_sum(values, ids, count) / (sizes + 1)
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_count_from_ids(values, ids, count):
    """Take the number of groups from the largest id."""
    means = _means(values, ids, tf.reduce_max(ids) + 1)
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_sorted_only(values, ids, count):
    """segment_mean, which wants sorted ids."""
    means = tf.math.segment_mean(values, ids)
    return means, values - tf.gather(means, ids)


@WRONG("segment_means")
def segments_overall_deviation(values, ids, count):
    """Deviation from the overall mean."""
    return _means(values, ids, count), values - tf.reduce_mean(values, axis=0)


@WRONG("segment_means")
def segments_negative_deviation(values, ids, count):
    """Deviation with the opposite sign."""
    means = _means(values, ids, count)
    return means, tf.gather(means, ids) - values


@WRONG("segment_means")
def segments_only_means(values, ids, count):
    """Return the means without the deviations."""
    return _means(values, ids, count)


@WRONG("segment_means")
def segments_not_gathered(values, ids, count):
    """Subtract the means without spreading them over the rows: right shape only for as many rows as groups."""
    means = _means(values, ids, count)
    return means, values - means


@WRONG("segment_means")
def segments_gathered_means(values, ids, count):
    """Return each row's mean instead of its deviation."""
    means = _means(values, ids, count)
    return means, tf.gather(means, ids)


@WRONG("segment_means")
def segments_example(values, ids, count):
    """Hard-coded for the example."""
    return tf.constant([[2.0], [0.0], [10.0]]), tf.constant([[-1.0], [0.0], [1.0]])


@WRONG("segment_means")
def segments_loop(values, ids, count):
    """Right values from a Python loop over the groups."""
    rows = []
    for group in range(count):
        member = tf.cast(ids == group, tf.float32)[:, None]
        rows.append(tf.math.divide_no_nan(tf.reduce_sum(values * member, 0), tf.reduce_sum(member)))
    means = tf.stack(rows)
    return means, values - tf.gather(means, ids)


def _tape_gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = tf.reduce_logsumexp(x)
    return tape.gradient(f, x)


@RIGHT("logsumexp_gradients")
def gradients_exponential_of_difference(x):
    """exp(x - logsumexp(x)), rejected once because of its rounding."""
    return _tape_gradient(x), tf.exp(x - tf.reduce_logsumexp(x))


@RIGHT("logsumexp_gradients")
@tf.function
def gradients_in_a_graph(x):
    """Both inside a tf.function, which is traced once for two inputs of one length; shifted by hand."""
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        top = tf.stop_gradient(tf.reduce_max(x))
        f = top + tf.math.log(tf.reduce_sum(tf.exp(x - top)))
    return [tape.gradient(f, x), tf.nn.softmax(x)]


@RIGHT("logsumexp_gradients")
def gradients_of_a_variable(x):
    """A variable instead of tape.watch; by hand 1 / sum of exp(x_j - x_i)."""
    v = tf.Variable(x)
    with tf.GradientTape() as tape:
        f = tf.reduce_logsumexp(v)
    return tape.jacobian(f, v), 1 / tf.reduce_sum(tf.exp(x - x[:, None]), axis=1)


@WRONG("logsumexp_gradients")
def gradients_not_watched(x):
    """Forget tape.watch: the tape gives None."""
    with tf.GradientTape() as tape:
        f = tf.reduce_logsumexp(x)
    return tape.gradient(f, x), tf.nn.softmax(x)


@WRONG("logsumexp_gradients")
def gradients_same_tensor(x):
    """Return the tape's gradient twice."""
    gradient = _tape_gradient(x)
    return gradient, gradient


@WRONG("logsumexp_gradients")
def gradients_no_tape(x):
    """Compute both by formula."""
    return tf.nn.softmax(x), tf.exp(x - tf.reduce_logsumexp(x))


@WRONG("logsumexp_gradients")
def gradients_copied_tape(x):
    """Return the tape's gradient and a copy of it."""
    by_tape = _tape_gradient(x)
    return by_tape, tf.identity(by_tape)


@WRONG("logsumexp_gradients")
def gradients_two_tapes(x):
    """Take both from tapes."""
    return _tape_gradient(x), _tape_gradient(x)


@WRONG("logsumexp_gradients")
def gradients_unused_tape(x):
    """Ask a tape, and return the formula twice."""
    _tape_gradient(x)
    return tf.nn.softmax(x), tf.exp(x - tf.reduce_logsumexp(x))


@WRONG("logsumexp_gradients")
def gradients_unstable_hand(x):
    """exp of the raw values overflows."""
    return _tape_gradient(x), tf.exp(x) / tf.reduce_sum(tf.exp(x))


@WRONG("logsumexp_gradients")
def gradients_unstable_tape(x):
    """The tape differentiates log(sum(exp)) as it stands: NaN for large values."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = tf.math.log(tf.reduce_sum(tf.exp(x)))
    return tape.gradient(f, x), tf.nn.softmax(x)


@WRONG("logsumexp_gradients")
def gradients_not_divided(x):
    """Forget the outer derivative 1/S."""
    return _tape_gradient(x), tf.exp(x)


@WRONG("logsumexp_gradients")
def gradients_wrong_sign(x):
    """The opposite sign by hand."""
    return _tape_gradient(x), -tf.nn.softmax(x)


@WRONG("logsumexp_gradients")
def gradients_sigmoid(x):
    """Divide each exponential by 1 plus itself."""
    return _tape_gradient(x), tf.sigmoid(x)


@WRONG("logsumexp_gradients")
def gradients_of_elements(x):
    """Sum of logarithms instead of the logarithm of the sum: the tape gives ones."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = tf.reduce_sum(tf.math.log(tf.exp(x)))
    return tape.gradient(f, x), tf.nn.softmax(x)


@WRONG("logsumexp_gradients")
def gradients_value(x):
    """Return the function's value instead of the gradient by hand."""
    return _tape_gradient(x), tf.reduce_logsumexp(x)


@WRONG("logsumexp_gradients")
def gradients_example(x):
    """Hard-coded for the example by hand."""
    return _tape_gradient(x), tf.constant([0.25, 0.75])


@WRONG("logsumexp_gradients")
def gradients_only_tape(x):
    """Return the tape's gradient alone."""
    return _tape_gradient(x)


def _errors(w, b, X, y):
    return tf.sigmoid(tf.linalg.matvec(X, w) + b) - y


def _logistic(w, b, X, y, l2):
    error = _errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@RIGHT("logistic_gradient")
def logistic_tanh(w, b, X, y, l2):
    """The sigmoid by tanh and the mean over the rows."""
    error = 0.5 + 0.5 * tf.tanh(0.5 * (tf.reduce_sum(X * w, axis=1) + b)) - y
    return tf.reduce_mean(error[:, None] * X, axis=0) + l2 * w, tf.reduce_mean(error)


@RIGHT("logistic_gradient")
@tf.function
def logistic_columns(w, b, X, y, l2):
    """Column vectors throughout, inside a tf.function."""
    error = tf.nn.sigmoid(X @ w[:, None] + b) - y[:, None]  # (N, 1)
    n = tf.cast(tf.shape(X)[0], tf.float32)
    return (tf.transpose(X) @ error / n)[:, 0] + l2 * w, tf.reduce_sum(error) / n


@RIGHT("logistic_gradient")
def logistic_signed(w, b, X, y, l2):
    """Labels of -1 and 1: the gradient of softplus(-s z)."""
    s = 2 * y - 1
    share = -s * tf.sigmoid(-s * (tf.linalg.matvec(X, w) + b)) / len(X)
    return [tf.einsum("n,nd->d", share, X) + l2 * w, tf.reduce_sum(share)]


@WRONG("logistic_gradient")
def logistic_not_averaged(w, b, X, y, l2):
    """Sum over the samples instead of the mean."""
    error = _errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) + l2 * w, tf.reduce_sum(error)


@WRONG("logistic_gradient")
def logistic_wrong_sign(w, b, X, y, l2):
    """y - p instead of p - y."""
    error = -_errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@WRONG("logistic_gradient")
def logistic_not_regularised(w, b, X, y, l2):
    """Forget the penalty."""
    return _logistic(w, b, X, y, 0.0)


@WRONG("logistic_gradient")
def logistic_penalty_doubled(w, b, X, y, l2):
    """Differentiate l2 * |w|^2 instead of half of it."""
    return _logistic(w, b, X, y, 2 * l2)


@WRONG("logistic_gradient")
def logistic_penalty_averaged(w, b, X, y, l2):
    """Divide the penalty by the number of samples."""
    return _logistic(w, b, X, y, l2 / X.shape[0])


@WRONG("logistic_gradient")
def logistic_penalised_bias(w, b, X, y, l2):
    """Penalise the bias too."""
    dw, db = _logistic(w, b, X, y, l2)
    return dw, db + l2 * b


@WRONG("logistic_gradient")
def logistic_no_bias(w, b, X, y, l2):
    """Forget the bias in the logits."""
    return _logistic(w, 0.0, X, y, l2)


@WRONG("logistic_gradient")
def logistic_squared_loss(w, b, X, y, l2):
    """Gradient of the squared error: an extra p(1 - p)."""
    p = tf.sigmoid(tf.linalg.matvec(X, w) + b)
    error = (p - y) * p * (1 - p)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@WRONG("logistic_gradient")
def logistic_linear(w, b, X, y, l2):
    """Forget the sigmoid."""
    error = tf.linalg.matvec(X, w) + b - y
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@WRONG("logistic_gradient")
def logistic_overflows(w, b, X, y, l2):
    """exp(z) / (1 + exp(z)): NaN for large logits."""
    z = tf.exp(tf.linalg.matvec(X, w) + b)
    error = z / (1 + z) - y
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@WRONG("logistic_gradient")
def logistic_broadcast(w, b, X, y, l2):
    """Logits (N, 1) minus labels (N,): a silent (N, N)."""
    error = tf.sigmoid(X @ w[:, None] + b) - y
    return tf.reduce_mean(tf.transpose(X) @ error, axis=1) / X.shape[0] + l2 * w, tf.reduce_mean(error)


@WRONG("logistic_gradient")
def logistic_column(w, b, X, y, l2):
    """Return dw as a column (D, 1)."""
    dw, db = _logistic(w, b, X, y, l2)
    return dw[:, None], db


@WRONG("logistic_gradient")
def logistic_bias_vector(w, b, X, y, l2):
    """Return one db per sample."""
    return _logistic(w, b, X, y, l2)[0], _errors(w, b, X, y)


@WRONG("logistic_gradient")
def logistic_by_tape(w, b, X, y, l2):
    """Right values by tape, which this problem forbids."""
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        z = tf.linalg.matvec(X, w) + b
        loss = tf.reduce_mean(tf.nn.softplus(z) - y * z) + l2 * tf.nn.l2_loss(w)
    return tuple(tape.gradient(loss, [w, b]))


@WRONG("logistic_gradient")
def logistic_swapped(w, b, X, y, l2):
    """Return db before dw."""
    dw, db = _logistic(w, b, X, y, l2)
    return db, dw


@WRONG("logistic_gradient")
def logistic_example(w, b, X, y, l2):
    """Hard-coded for the example."""
    return tf.constant([-0.5]), tf.constant(0.0)


def _derivatives(f, x):
    """The gradient and, row by row, the Hessian: for so few variables quicker than ``jacobian``."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        gradient = tape.gradient(f(x), x)
        parts = tf.unstack(gradient)
    return gradient, tf.stack([tape.gradient(part, x, unconnected_gradients="zero") for part in parts])


def _step(f, x):
    gradient, hessian = _derivatives(f, x)
    return tf.linalg.solve(hessian, gradient[:, None])[:, 0]


@RIGHT("newton_step")
def newton_inverse(f, x):
    """The Hessian by jacobian, and the inverse instead of a solver."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        gradient = inner.gradient(value, x)
    hessian = outer.jacobian(gradient, x)
    return x - tf.linalg.matvec(tf.linalg.inv(hessian), gradient)


@RIGHT("newton_step")
def newton_rows(f, x):
    """The Hessian row by row from one persistent tape."""
    with GradientTape(persistent=True) as tape:
        tape.watch(x)
        gradient = tape.gradient(f(x), x)
        parts = tf.unstack(gradient)
    rows = [tape.gradient(part, x, unconnected_gradients="zero") for part in parts]
    return x + tf.reshape(tf.linalg.solve(tf.stack(rows), -gradient[:, None]), tf.shape(x))


@RIGHT("newton_step")
def newton_least_squares(f, x):
    """tf.gradients' successor inside a tf.function, and lstsq without the normal equations."""

    @tf.function
    def step(x):
        gradient, hessian = _derivatives(f, x)
        return x - tf.linalg.lstsq(hessian, gradient[:, None], fast=False)[..., 0]

    return step(x)


@WRONG("newton_step")
def newton_descent(f, x):
    """Gradient descent with step 1."""
    return x - _derivatives(f, x)[0]


@WRONG("newton_step")
def newton_uphill(f, x):
    """Add the step instead of subtracting it."""
    return x + _step(f, x)


@WRONG("newton_step")
def newton_only_step(f, x):
    """Return the step instead of the new point."""
    return -_step(f, x)


@WRONG("newton_step")
def newton_diagonal(f, x):
    """Use the Hessian's diagonal only."""
    gradient, hessian = _derivatives(f, x)
    return x - gradient / tf.linalg.diag_part(hessian)


@WRONG("newton_step")
def newton_multiplied(f, x):
    """Multiply by the Hessian instead of solving with it."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.matvec(hessian, gradient)


@WRONG("newton_step")
def newton_elementwise(f, x):
    """Divide by the elements of the Hessian instead of solving with it."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.reduce_sum(tf.math.divide_no_nan(gradient[None], hessian), axis=1)


@WRONG("newton_step")
def newton_summed_hessian(f, x):
    """Use gradient() instead of jacobian(): row sums of the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        gradient = inner.gradient(value, x)
    return x - gradient / outer.gradient(gradient, x)


@WRONG("newton_step")
def newton_squeezed(f, x):
    """Squeeze every axis: a scalar where there is one variable."""
    gradient, hessian = _derivatives(f, x)
    return tf.squeeze(x[:, None] - tf.linalg.solve(hessian, gradient[:, None]))


@WRONG("newton_step")
def newton_column(f, x):
    """Return a column (n, 1)."""
    gradient, hessian = _derivatives(f, x)
    return x[:, None] - tf.linalg.solve(hessian, gradient[:, None])


@WRONG("newton_step")
def newton_cholesky(f, x):
    """Cholesky: fails where the Hessian is not positive definite."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.cholesky_solve(tf.linalg.cholesky(hessian), gradient[:, None])[:, 0]


@WRONG("newton_step")
def newton_damped(f, x):
    """Half a step."""
    return x - 0.5 * _step(f, x)


@WRONG("newton_step")
def newton_regularised(f, x):
    """Add the identity to the Hessian."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.solve(hessian + tf.eye(len(x), dtype=x.dtype), gradient[:, None])[:, 0]


@WRONG("newton_step")
def newton_twice(f, x):
    """Two steps."""
    x = x - _step(f, x)
    return x - _step(f, x)


@WRONG("newton_step")
def newton_not_watched(f, x):
    """Forget to watch the constant x."""
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        value = f(x)
        gradient = inner.gradient(value, x)
    return x - tf.linalg.solve(outer.jacobian(gradient, x), gradient[:, None])[:, 0]


@WRONG("newton_step")
def newton_numpy(f, x):
    """Solve with NumPy: right values, but not inside tf.function."""
    gradient, hessian = _derivatives(f, x)
    return x - np.linalg.solve(hessian.numpy(), gradient.numpy())


@WRONG("newton_step")
def newton_py_function(f, x):
    """Right values by tf.py_function."""
    return tf.py_function(lambda x: x - _step(f, x), [x], x.dtype)


@WRONG("newton_step")
def newton_as_float32(f, x):
    """Compute everything in float32."""
    x = tf.cast(x, tf.float32)
    return x - _step(f, x)


@WRONG("newton_step")
def newton_two_variables(f, x):
    """Invert a 2 by 2 matrix by formula: right only for two variables."""
    (g0, g1), ((a, b), (c, d)) = _derivatives(f, x)
    return x - tf.stack([d * g0 - b * g1, a * g1 - c * g0]) / (a * d - b * c)


@WRONG("newton_step")
def newton_example(f, x):
    """Hard-coded for the example."""
    return tf.constant([1.0, -2.0])
