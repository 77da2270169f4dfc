"""The small Llama with planted outliers of practice 14.2."""

import numpy as np
import pytest
import tensorflow as tf

from tf_study.checks import outliers


@pytest.fixture(scope="module")
def written():
    model = outliers.llama(3)
    return model, outliers.write(model, 8, 24, 3)


def test_a_seed_gives_the_same_model_and_texts(written):
    model, rows = written
    again = outliers.llama(3)
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(outliers.write(again, 8, 24, 3), rows)
    assert rows.shape == (8, 24) and 0 <= rows.min() and rows.max() < outliers.SIZES.vocab


def test_some_channels_are_loud(written):
    for parts in outliers.inputs(*written):
        for x in parts.values():
            size = np.sort(np.abs(x).mean(0))
            assert size[-1] > 5 * np.median(size)


def test_inputs_are_what_the_layers_see(written):
    model, rows = written
    block, last = model.blocks[-1], outliers.inputs(model, rows)[-1]
    u = last["gate"].reshape(*rows.shape, -1)
    f = block.feed_forward
    middle = tf.nn.silu(f.gate(u)) * f.up(u)
    np.testing.assert_allclose(last["down"], np.reshape(middle, last["down"].shape), atol=1e-4)
    x = model.embedding(rows)
    for earlier in model.blocks[:-1]:
        x, _ = earlier(x)
    np.testing.assert_allclose(
        last["query"], np.reshape(block.attention_norm(x), last["query"].shape), atol=1e-4
    )


def test_the_model_predicts_its_own_texts_best(written):
    model, rows = written

    def loss():
        logits = model(rows)[0][:, :-1]
        return float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(rows[:, 1:], logits)))

    own, kept = loss(), [outliers.read(block) for block in model.blocks]
    assert own < 0.7 * np.log(outliers.SIZES.vocab)
    for block, weights in zip(model.blocks, kept, strict=True):
        outliers.put(block, weights | {"down": 0.5 * weights["down"]})
    assert loss() > own
    for block, weights in zip(model.blocks, kept, strict=True):
        outliers.put(block, weights)
    assert loss() == pytest.approx(own, abs=1e-6)
