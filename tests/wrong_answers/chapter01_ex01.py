"""Wrong answers to practice 1.1; every one of them must be marked ❌."""

import numpy as np
import tensorflow as tf


def scores_rows_gathered(scores, labels):
    """Gather along axis 0: whole rows instead of one score a row."""
    return tf.gather(scores, labels), tf.one_hot(labels, scores.shape[1])


def scores_no_batch_dims(scores, labels):
    """Gather along axis 1 without batch_dims: (N, N)."""
    return tf.gather(scores, labels, axis=1), tf.one_hot(labels, scores.shape[1])


def scores_by_product(scores, labels):
    """Multiply by the one-hot rows: 0 times -inf is NaN."""
    one_hot = tf.one_hot(labels, scores.shape[1])
    return tf.reduce_sum(scores * one_hot, axis=1), one_hot


def scores_largest(scores, labels):
    """Take the largest score instead of the labelled one."""
    return tf.reduce_max(scores, axis=1), tf.one_hot(labels, scores.shape[1])


def scores_depth_from_labels(scores, labels):
    """Take the number of classes from the largest label."""
    depth = tf.cast(tf.reduce_max(labels), tf.int32) + 1
    return tf.gather(scores, labels, axis=1, batch_dims=1), tf.one_hot(labels, depth)


def scores_one_hot_columns(scores, labels):
    """One-hot along axis 0: (C, N)."""
    return tf.gather(scores, labels, axis=1, batch_dims=1), tf.one_hot(labels, scores.shape[1], axis=0)


def scores_integer_one_hot(scores, labels):
    """One-hot of integers instead of float32."""
    one_hot = tf.one_hot(labels, scores.shape[1], dtype=tf.int32)
    return tf.gather(scores, labels, axis=1, batch_dims=1), one_hot


def scores_labels_from_one(scores, labels):
    """Count the labels from 1."""
    picked = tf.gather(scores, tf.maximum(labels - 1, 0), axis=1, batch_dims=1)
    return picked, tf.one_hot(labels - 1, scores.shape[1])


def scores_only_picked(scores, labels):
    """Return the scores without the one-hot rows."""
    return tf.gather(scores, labels, axis=1, batch_dims=1)


def scores_swapped(scores, labels):
    """Return the two results in the wrong order."""
    return tf.one_hot(labels, scores.shape[1]), tf.gather(scores, labels, axis=1, batch_dims=1)


def scores_example(scores, labels):
    """Hard-coded for the example."""
    return tf.constant([0.7, 0.5]), tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def scores_numpy_function(scores, labels):
    """Right values by tf.numpy_function."""
    one_hot = tf.one_hot(labels, scores.shape[1])
    picked = tf.numpy_function(lambda s, k: s[np.arange(len(s)), k], [scores, labels], tf.float32)
    return picked, one_hot


def scores_loop(scores, labels):
    """Right values from a Python loop over the rows."""
    picked = tf.stack([scores[i, labels[i]] for i in range(scores.shape[0])])
    return picked, tf.one_hot(labels, scores.shape[1])


def crop_flips_all(images, top, left, height, width, flip):
    """Flip every image, whatever the flags say."""
    return images[:, top : top + height, left : left + width][:, :, ::-1]


def crop_ignores_flip(images, top, left, height, width, flip):
    """Never flip."""
    return images[:, top : top + height, left : left + width]


def crop_flips_vertically(images, top, left, height, width, flip):
    """Flip upside down instead of left to right."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip[:, None, None, None], crop[:, ::-1], crop)


def crop_flips_channels(images, top, left, height, width, flip):
    """Reverse the channels (axis 3) instead of the columns."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip[:, None, None, None], crop[..., ::-1], crop)


def crop_flips_first(images, top, left, height, width, flip):
    """Flip before the crop: another part of the image."""
    mirrored = tf.where(flip[:, None, None, None], images[:, :, ::-1], images)
    return mirrored[:, top : top + height, left : left + width]


def crop_end_as_size(images, top, left, height, width, flip):
    """Use height and width as end positions."""
    crop = images[:, top:height, left:width]
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


def crop_axes_swapped(images, top, left, height, width, flip):
    """Swap rows and columns."""
    crop = images[:, left : left + width, top : top + height]
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


def crop_flag_on_columns(images, top, left, height, width, flip):
    """Broadcast the flags along the channels instead of the batch: right only if the shapes agree by luck."""
    crop = images[:, top : top + height, left : left + width]
    return tf.where(flip, crop[:, :, ::-1], crop)


def crop_as_float(images, top, left, height, width, flip):
    """Turn bytes into float32."""
    crop = tf.cast(images[:, top : top + height, left : left + width], tf.float32)
    return tf.where(flip[:, None, None, None], crop[:, :, ::-1], crop)


def crop_loop(images, top, left, height, width, flip):
    """Right values from a Python loop over the batch."""
    crop = images[:, top : top + height, left : left + width]
    return tf.stack([tf.where(flip[i], crop[i, :, ::-1], crop[i]) for i in range(crop.shape[0])])


def crop_map(images, top, left, height, width, flip):
    """Right values from tf.map_fn."""
    crop = images[:, top : top + height, left : left + width]
    return tf.map_fn(
        lambda pair: tf.where(pair[1], pair[0][:, ::-1], pair[0]),
        (crop, flip),
        fn_output_signature=crop.dtype,
    )


def distances_squared(x, y):
    """Forget the square root."""
    return tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=-1)


def distances_city_block(x, y):
    """Add absolute differences."""
    return tf.reduce_sum(tf.abs(x[:, None] - y[None]), axis=-1)


def distances_mean(x, y):
    """Average over the coordinates instead of adding."""
    return tf.sqrt(tf.reduce_mean((x[:, None] - y[None]) ** 2, axis=-1))


def distances_transposed(x, y):
    """Rows for y, columns for x."""
    return tf.norm(y[:, None] - x[None], axis=-1)


def distances_wrong_axis(x, y):
    """Add over the points of y instead of the coordinates."""
    return tf.sqrt(tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=1))


def distances_rowwise(x, y):
    """Subtract row by row: right only where both have the same number of points, and then one axis short."""
    return tf.norm(x - y, axis=-1)


def distances_expanded(x, y):
    """Expand the square: loses all digits far from the origin."""
    squared = tf.reduce_sum(x**2, 1)[:, None] + tf.reduce_sum(y**2, 1)[None] - 2 * x @ tf.transpose(y)
    return tf.sqrt(tf.maximum(squared, 0))


def distances_smoothed(x, y):
    """Add 1e-6 under the root: equal points are no longer at distance 0."""
    return tf.sqrt(tf.reduce_sum((x[:, None] - y[None]) ** 2, axis=-1) + 1e-6)


def distances_loop(x, y):
    """Right values from a Python loop over the points."""
    return tf.stack([tf.norm(x[i] - y, axis=-1) for i in range(x.shape[0])])


def distances_iterated(x, y):
    """Right values from a Python loop over the tensor itself."""
    return tf.stack([tf.norm(row - y, axis=-1) for row in x])


def distances_numpy(x, y):
    """Right values computed by NumPy."""
    return np.linalg.norm(x.numpy()[:, None] - y.numpy()[None], axis=-1)


def distances_py_function(x, y):
    """Right values by tf.py_function."""
    return tf.py_function(lambda x, y: tf.norm(x[:, None] - y[None], axis=-1), [x, y], tf.float32)


def distances_as_double(x, y):
    """Return float64."""
    return tf.norm(tf.cast(x[:, None] - y[None], tf.float64), axis=-1)


def distances_example(x, y):
    """Hard-coded for the example."""
    return tf.constant([[0.0, 4.0, 10.0], [5.0, 3.0, 5.0]])


def mahalanobis_no_mean(x, means, precisions):
    """Do not subtract the means."""
    return tf.einsum("bi,kij,bj->bk", x, precisions, x)


def mahalanobis_euclidean(x, means, precisions):
    """Leave the precision matrices out."""
    return tf.reduce_sum((x[:, None] - means) ** 2, axis=-1)


def mahalanobis_diagonal(x, means, precisions):
    """Use the diagonals of the precision matrices only."""
    return tf.einsum("bki,kii->bk", (x[:, None] - means) ** 2, precisions)


def mahalanobis_rooted(x, means, precisions):
    """Return the distance instead of its square."""
    d = x[:, None] - means
    return tf.sqrt(tf.einsum("bki,kij,bkj->bk", d, precisions, d))


def mahalanobis_transposed(x, means, precisions):
    """Rows for clusters, columns for points."""
    d = x[:, None] - means
    return tf.einsum("bki,kij,bkj->kb", d, precisions, d)


def mahalanobis_one_matrix(x, means, precisions):
    """Use the first cluster's matrix for all clusters."""
    d = x[:, None] - means
    return tf.einsum("bki,ij,bkj->bk", d, precisions[0], d)


def mahalanobis_all_matrices(x, means, precisions):
    """Add over all matrices: a separate letter for the matrix's cluster axis."""
    d = x[:, None] - means
    return tf.einsum("bki,lij,bkj->bk", d, precisions, d)


def mahalanobis_separate_sums(x, means, precisions):
    """Multiply only once by the difference and add the rest up."""
    return tf.einsum("bki,kij->bk", x[:, None] - means, precisions)


def mahalanobis_covariance(x, means, precisions):
    """Invert the matrices, as if they were covariances."""
    d = x[:, None] - means
    return tf.einsum("bki,kij,bkj->bk", d, tf.linalg.inv(precisions), d)


def mahalanobis_example(x, means, precisions):
    """Hard-coded for the example."""
    return tf.constant([[7.0, 3.0]])


def mahalanobis_loop(x, means, precisions):
    """Right values from a Python loop over the clusters."""
    columns = []
    for k in range(means.shape[0]):
        d = x - means[k]
        columns.append(tf.reduce_sum(d @ precisions[k] * d, axis=1))
    return tf.stack(columns, axis=1)


def _means(values, ids, count):
    return tf.math.unsorted_segment_mean(values, ids, count)


def segments_sum(values, ids, count):
    """Sums instead of means."""
    means = tf.math.unsorted_segment_sum(values, ids, count)
    return means, values - tf.gather(means, ids)


def segments_divided_by_all(values, ids, count):
    """Divide by the number of all rows."""
    means = tf.math.unsorted_segment_sum(values, ids, count) / values.shape[0]
    return means, values - tf.gather(means, ids)


def segments_zero_division(values, ids, count):
    """0/0 in empty groups."""
    means = tf.math.unsorted_segment_sum(values, ids, count) / tf.math.unsorted_segment_sum(
        tf.ones_like(values), ids, count
    )
    return means, values - tf.gather(means, ids)


def segments_smoothed_counts(values, ids, count):
    """Add 1 to the counts against the division by zero."""
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(values), ids, count)
    means = tf.math.unsorted_segment_sum(values, ids, count) / (sizes + 1)
    return means, values - tf.gather(means, ids)


def segments_count_from_ids(values, ids, count):
    """Take the number of groups from the largest id."""
    means = _means(values, ids, tf.reduce_max(ids) + 1)
    return means, values - tf.gather(means, ids)


def segments_sorted_only(values, ids, count):
    """segment_mean, which wants sorted ids."""
    means = tf.math.segment_mean(values, ids)
    return means, values - tf.gather(means, ids)


def segments_overall_deviation(values, ids, count):
    """Deviation from the overall mean."""
    return _means(values, ids, count), values - tf.reduce_mean(values, axis=0)


def segments_negative_deviation(values, ids, count):
    """Deviation with the opposite sign."""
    means = _means(values, ids, count)
    return means, tf.gather(means, ids) - values


def segments_only_means(values, ids, count):
    """Return the means without the deviations."""
    return _means(values, ids, count)


def segments_not_gathered(values, ids, count):
    """Subtract the means without spreading them over the rows: right shape only for as many rows as groups."""
    means = _means(values, ids, count)
    return means, values - means


def segments_gathered_means(values, ids, count):
    """Return each row's mean instead of its deviation."""
    means = _means(values, ids, count)
    return means, tf.gather(means, ids)


def segments_example(values, ids, count):
    """Hard-coded for the example."""
    return tf.constant([[2.0], [0.0], [10.0]]), tf.constant([[-1.0], [0.0], [1.0]])


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


def gradients_not_watched(x):
    """Forget tape.watch: the tape gives None."""
    with tf.GradientTape() as tape:
        f = tf.reduce_logsumexp(x)
    return tape.gradient(f, x), tf.nn.softmax(x)


def gradients_same_tensor(x):
    """Return the tape's gradient twice."""
    gradient = _tape_gradient(x)
    return gradient, gradient


def gradients_no_tape(x):
    """Compute both by formula."""
    return tf.nn.softmax(x), tf.exp(x - tf.reduce_logsumexp(x))


def gradients_unstable_hand(x):
    """exp of the raw values overflows."""
    return _tape_gradient(x), tf.exp(x) / tf.reduce_sum(tf.exp(x))


def gradients_unstable_tape(x):
    """The tape differentiates log(sum(exp)) as it stands: NaN for large values."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = tf.math.log(tf.reduce_sum(tf.exp(x)))
    return tape.gradient(f, x), tf.nn.softmax(x)


def gradients_not_divided(x):
    """Forget the outer derivative 1/S."""
    return _tape_gradient(x), tf.exp(x)


def gradients_wrong_sign(x):
    """The opposite sign by hand."""
    return _tape_gradient(x), -tf.nn.softmax(x)


def gradients_sigmoid(x):
    """Divide each exponential by 1 plus itself."""
    return _tape_gradient(x), tf.sigmoid(x)


def gradients_of_elements(x):
    """Sum of logarithms instead of the logarithm of the sum: the tape gives ones."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        f = tf.reduce_sum(tf.math.log(tf.exp(x)))
    return tape.gradient(f, x), tf.nn.softmax(x)


def gradients_value(x):
    """Return the function's value instead of the gradient by hand."""
    return _tape_gradient(x), tf.reduce_logsumexp(x)


def gradients_example(x):
    """Hard-coded for the example by hand."""
    return _tape_gradient(x), tf.constant([0.25, 0.75])


def gradients_only_tape(x):
    """Return the tape's gradient alone."""
    return _tape_gradient(x)


def _errors(w, b, X, y):
    return tf.sigmoid(tf.linalg.matvec(X, w) + b) - y


def _logistic(w, b, X, y, l2):
    error = _errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_not_averaged(w, b, X, y, l2):
    """Sum over the samples instead of the mean."""
    error = _errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) + l2 * w, tf.reduce_sum(error)


def logistic_wrong_sign(w, b, X, y, l2):
    """y - p instead of p - y."""
    error = -_errors(w, b, X, y)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_not_regularised(w, b, X, y, l2):
    """Forget the penalty."""
    return _logistic(w, b, X, y, 0.0)


def logistic_penalty_doubled(w, b, X, y, l2):
    """Differentiate l2 * |w|^2 instead of half of it."""
    return _logistic(w, b, X, y, 2 * l2)


def logistic_penalty_averaged(w, b, X, y, l2):
    """Divide the penalty by the number of samples."""
    return _logistic(w, b, X, y, l2 / X.shape[0])


def logistic_penalised_bias(w, b, X, y, l2):
    """Penalise the bias too."""
    dw, db = _logistic(w, b, X, y, l2)
    return dw, db + l2 * b


def logistic_no_bias(w, b, X, y, l2):
    """Forget the bias in the logits."""
    return _logistic(w, 0.0, X, y, l2)


def logistic_squared_loss(w, b, X, y, l2):
    """Gradient of the squared error: an extra p(1 - p)."""
    p = tf.sigmoid(tf.linalg.matvec(X, w) + b)
    error = (p - y) * p * (1 - p)
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_linear(w, b, X, y, l2):
    """Forget the sigmoid."""
    error = tf.linalg.matvec(X, w) + b - y
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_overflows(w, b, X, y, l2):
    """exp(z) / (1 + exp(z)): NaN for large logits."""
    z = tf.exp(tf.linalg.matvec(X, w) + b)
    error = z / (1 + z) - y
    return tf.linalg.matvec(X, error, transpose_a=True) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_broadcast(w, b, X, y, l2):
    """Logits (N, 1) minus labels (N,): a silent (N, N)."""
    error = tf.sigmoid(X @ w[:, None] + b) - y
    return tf.reduce_mean(tf.transpose(X) @ error, axis=1) / X.shape[0] + l2 * w, tf.reduce_mean(error)


def logistic_column(w, b, X, y, l2):
    """Return dw as a column (D, 1)."""
    dw, db = _logistic(w, b, X, y, l2)
    return dw[:, None], db


def logistic_bias_vector(w, b, X, y, l2):
    """Return one db per sample."""
    return _logistic(w, b, X, y, l2)[0], _errors(w, b, X, y)


def logistic_by_tape(w, b, X, y, l2):
    """Right values by tape, which this problem forbids."""
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        z = tf.linalg.matvec(X, w) + b
        loss = tf.reduce_mean(tf.nn.softplus(z) - y * z) + l2 * tf.nn.l2_loss(w)
    return tuple(tape.gradient(loss, [w, b]))


def logistic_swapped(w, b, X, y, l2):
    """Return db before dw."""
    dw, db = _logistic(w, b, X, y, l2)
    return db, dw


def logistic_example(w, b, X, y, l2):
    """Hard-coded for the example."""
    return tf.constant([-0.5]), tf.constant(0.0)


def _derivatives(f, x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        gradient = inner.gradient(value, x)
    return gradient, outer.jacobian(gradient, x)


def _step(f, x):
    gradient, hessian = _derivatives(f, x)
    return tf.linalg.solve(hessian, gradient[:, None])[:, 0]


def newton_descent(f, x):
    """Gradient descent with step 1."""
    return x - _derivatives(f, x)[0]


def newton_uphill(f, x):
    """Add the step instead of subtracting it."""
    return x + _step(f, x)


def newton_only_step(f, x):
    """Return the step instead of the new point."""
    return -_step(f, x)


def newton_diagonal(f, x):
    """Use the Hessian's diagonal only."""
    gradient, hessian = _derivatives(f, x)
    return x - gradient / tf.linalg.diag_part(hessian)


def newton_multiplied(f, x):
    """Multiply by the Hessian instead of solving with it."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.matvec(hessian, gradient)


def newton_elementwise(f, x):
    """Divide by the elements of the Hessian instead of solving with it."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.reduce_sum(tf.math.divide_no_nan(gradient[None], hessian), axis=1)


def newton_summed_hessian(f, x):
    """Use gradient() instead of jacobian(): row sums of the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        gradient = inner.gradient(value, x)
    return x - gradient / outer.gradient(gradient, x)


def newton_squeezed(f, x):
    """Squeeze every axis: a scalar where there is one variable."""
    gradient, hessian = _derivatives(f, x)
    return tf.squeeze(x[:, None] - tf.linalg.solve(hessian, gradient[:, None]))


def newton_column(f, x):
    """Return a column (n, 1)."""
    gradient, hessian = _derivatives(f, x)
    return x[:, None] - tf.linalg.solve(hessian, gradient[:, None])


def newton_cholesky(f, x):
    """Cholesky: fails where the Hessian is not positive definite."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.cholesky_solve(tf.linalg.cholesky(hessian), gradient[:, None])[:, 0]


def newton_damped(f, x):
    """Half a step."""
    return x - 0.5 * _step(f, x)


def newton_regularised(f, x):
    """Add the identity to the Hessian."""
    gradient, hessian = _derivatives(f, x)
    return x - tf.linalg.solve(hessian + tf.eye(len(x), dtype=x.dtype), gradient[:, None])[:, 0]


def newton_twice(f, x):
    """Two steps."""
    x = x - _step(f, x)
    return x - _step(f, x)


def newton_not_watched(f, x):
    """Forget to watch the constant x."""
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        value = f(x)
        gradient = inner.gradient(value, x)
    return x - tf.linalg.solve(outer.jacobian(gradient, x), gradient[:, None])[:, 0]


def newton_numpy(f, x):
    """Solve with NumPy: right values, but not inside tf.function."""
    gradient, hessian = _derivatives(f, x)
    return x - np.linalg.solve(hessian.numpy(), gradient.numpy())


def newton_py_function(f, x):
    """Right values by tf.py_function."""
    return tf.py_function(lambda x: x - _step(f, x), [x], x.dtype)


def newton_as_float32(f, x):
    """Compute everything in float32."""
    x = tf.cast(x, tf.float32)
    return x - _step(f, x)


def newton_two_variables(f, x):
    """Invert a 2 by 2 matrix by formula: right only for two variables."""
    (g0, g1), ((a, b), (c, d)) = _derivatives(f, x)
    return x - tf.stack([d * g0 - b * g1, a * g1 - c * g0]) / (a * d - b * c)


def newton_example(f, x):
    """Hard-coded for the example."""
    return tf.constant([1.0, -2.0])


WRONG = {
    "label_scores": [
        scores_rows_gathered,
        scores_no_batch_dims,
        scores_by_product,
        scores_largest,
        scores_depth_from_labels,
        scores_one_hot_columns,
        scores_integer_one_hot,
        scores_labels_from_one,
        scores_only_picked,
        scores_swapped,
        scores_example,
        scores_numpy_function,
        scores_loop,
    ],
    "crop_and_flip": [
        crop_flips_all,
        crop_ignores_flip,
        crop_flips_vertically,
        crop_flips_channels,
        crop_flips_first,
        crop_end_as_size,
        crop_axes_swapped,
        crop_flag_on_columns,
        crop_as_float,
        crop_loop,
        crop_map,
    ],
    "pairwise_distances": [
        distances_squared,
        distances_city_block,
        distances_mean,
        distances_transposed,
        distances_wrong_axis,
        distances_rowwise,
        distances_expanded,
        distances_smoothed,
        distances_loop,
        distances_iterated,
        distances_numpy,
        distances_py_function,
        distances_as_double,
        distances_example,
    ],
    "mahalanobis": [
        mahalanobis_no_mean,
        mahalanobis_euclidean,
        mahalanobis_diagonal,
        mahalanobis_rooted,
        mahalanobis_transposed,
        mahalanobis_one_matrix,
        mahalanobis_all_matrices,
        mahalanobis_separate_sums,
        mahalanobis_covariance,
        mahalanobis_example,
        mahalanobis_loop,
    ],
    "segment_means": [
        segments_sum,
        segments_divided_by_all,
        segments_zero_division,
        segments_smoothed_counts,
        segments_count_from_ids,
        segments_sorted_only,
        segments_overall_deviation,
        segments_negative_deviation,
        segments_only_means,
        segments_not_gathered,
        segments_gathered_means,
        segments_example,
        segments_loop,
    ],
    "logsumexp_gradients": [
        gradients_not_watched,
        gradients_same_tensor,
        gradients_no_tape,
        gradients_unstable_hand,
        gradients_unstable_tape,
        gradients_not_divided,
        gradients_wrong_sign,
        gradients_sigmoid,
        gradients_of_elements,
        gradients_value,
        gradients_example,
        gradients_only_tape,
    ],
    "logistic_gradient": [
        logistic_not_averaged,
        logistic_wrong_sign,
        logistic_not_regularised,
        logistic_penalty_doubled,
        logistic_penalty_averaged,
        logistic_penalised_bias,
        logistic_no_bias,
        logistic_squared_loss,
        logistic_linear,
        logistic_overflows,
        logistic_broadcast,
        logistic_column,
        logistic_bias_vector,
        logistic_by_tape,
        logistic_swapped,
        logistic_example,
    ],
    "newton_step": [
        newton_descent,
        newton_uphill,
        newton_only_step,
        newton_diagonal,
        newton_multiplied,
        newton_elementwise,
        newton_summed_hessian,
        newton_squeezed,
        newton_column,
        newton_cholesky,
        newton_damped,
        newton_regularised,
        newton_twice,
        newton_not_watched,
        newton_numpy,
        newton_py_function,
        newton_as_float32,
        newton_two_variables,
        newton_example,
    ],
}
