"""What lecture 14.5 reads about SmolLM2 is what the model gives: a row of the table in each language, and the stored layer."""

import numpy as np
import pytest
import tensorflow as tf

import nbval_needs
from tf_study import pretrained
from tf_study.data import quantization
from tf_study.models.llama import loaded

BITS, GROUP, ROWS = 3, 64, 1


def rounded(weight):
    """weight (out, in) → the nearest points of a grid for each group of inputs."""
    groups = weight.reshape(len(weight), -1, GROUP)
    high, low = np.maximum(groups.max(-1), 0)[..., None], np.minimum(groups.min(-1), 0)[..., None]
    scale = (high - low) / (2**BITS - 1)
    zero = np.round(-low / scale)
    codes = np.clip(np.round(groups / scale) + zero, 0, 2**BITS - 1)
    return ((codes - zero) * scale).reshape(weight.shape)


@pytest.fixture(scope="module")
def smollm2():
    nbval_needs.need("smollm2")
    config, state, _ = pretrained.smollm2(wrapped=False)
    return config, state


def test_stored_layer_is_the_models(smollm2):
    kernel = smollm2[1][f"model.layers.{quantization.BLOCK}.self_attn.q_proj.weight"].T
    stored = quantization.layer()["kernel"]
    np.testing.assert_array_equal(kernel[:, : stored.shape[1]], stored)


def test_recorded_losses_are_the_models(smollm2):
    config, state = smollm2
    model = loaded(config, {name: rounded(w) if "proj" in name else w for name, w in state.items()})
    table = quantization.table()
    for language, tokens in table["tokens"].items():
        rows = np.array(tokens[:ROWS])
        logits = model(rows)[0][:, :-1]
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(rows[:, 1:], logits)
        recorded = table["losses"][f"RTN W{BITS} g{GROUP}"][language][:ROWS]
        np.testing.assert_allclose(tf.reduce_mean(loss, 1), recorded, atol=1e-3)


def test_every_setting_has_all_rows():
    table = quantization.table()
    for losses in table["losses"].values():
        assert {language: len(rows) for language, rows in losses.items()} == {
            language: len(rows) for language, rows in table["tokens"].items()
        }
