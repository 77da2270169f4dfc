"""The optimizers of one operation a variable: the numbers of Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_study import optimizers

START = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")


def train(optimizer):
    """Return a table read at a few rows (a sparse gradient) and a matrix after five steps."""
    table, matrix = (keras.Variable(value) for value in START)
    optimizer.build([table, matrix])

    @tf.function(autograph=False)
    def step(rows):
        with tf.GradientTape() as tape:
            read = tf.gather(table.value, rows)
            loss = tf.reduce_sum(tf.sin(read @ tf.transpose(matrix.value)))
        optimizer.apply(tape.gradient(loss, [table.value, matrix.value]), [table, matrix])

    for i in range(5):
        step(tf.constant([i, i, 0]))
    return np.stack([table, matrix])


@pytest.mark.parametrize(
    ("name", "options"),
    [("Adam", {"beta_2": 0.99}), ("AdamW", {"weight_decay": 0.1, "global_clipnorm": 1.0})],
)
def test_the_numbers_are_keras_own(name, options):
    own, theirs = (
        train(getattr(module, name)(keras.optimizers.schedules.CosineDecay(0.1, 5), **options))
        for module in (optimizers, keras.optimizers)
    )
    np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-5)  # Rounding of float32.
    assert np.abs(theirs - START).max() > 0.1


def test_a_saved_model_is_loaded_with_its_optimizer(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizers.Adam(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    model.optimizer.variables[-1].assign([1.0, 2.0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is optimizers.Adam
    np.testing.assert_array_equal(loaded.variables[-1], [1.0, 2.0])
