"""Samplers, Frechet distance, judge and checkpoints of ``tf_study.diffusion``."""

import tf_study  # noqa: F401  isort: skip

from collections import deque

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import linalg

from tf_study import data, diffusion
from tf_study.data import store
from tf_study.errors import StudyError
from tf_study.models.unet import EPSILON, GROUPS, UNet, norm

MEAN, STD = 0.7, 0.5  # of the Gaussian data whose best guess is known


def exact(x, t):
    """The posterior means of x_0 and of the noise given x_t, for Gaussian data."""
    variance = (1 - t) ** 2 * STD**2 + t**2
    centred = x - (1 - t) * MEAN
    return MEAN + (1 - t) * STD**2 / variance * centred, t / variance * centred


def run(sampler, x, steps, **options):
    (last,) = deque(sampler(exact, x, steps, **options), maxlen=1)
    return np.asarray(last)


@pytest.mark.parametrize("name", diffusion.SAMPLERS)
def test_every_sampler_draws_the_gaussian(name):
    x = tf.random.stateless_normal((20000,), (1, 2))
    drawn = run(diffusion.SAMPLERS[name], x, 400)
    assert drawn.mean() == pytest.approx(MEAN, abs=0.015)  # 20,000 draws: 0.0035 at one sigma
    assert drawn.std() == pytest.approx(STD, abs=0.015)


def test_ddim_is_first_order_and_dpm_solver_second():
    """The flow moves x to MEAN + STD x, so the error of a number of steps is known."""
    x = tf.constant(np.linspace(-2, 2, 9))

    def error(name, steps):
        return np.abs(run(diffusion.SAMPLERS[name], x, steps) - (MEAN + STD * np.asarray(x))).max()

    assert error("ddim", 40) / error("ddim", 80) == pytest.approx(2, abs=0.1)
    # From 0.99 to 0.02, so what is compared is two runs of the same path against a fine one.
    fine = run(diffusion.dpm_solver, x, 1280)
    errors = [np.abs(run(diffusion.dpm_solver, x, steps) - fine).max() for steps in (40, 80)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.5)


def test_ddpm_keeps_the_posterior_of_ho_et_al():
    """Mean and variance of one step against q(x_s | x_t, x_0) by conditioning a joint Gaussian."""
    t, s, clean, noise = 0.75, 0.5, 0.3, -1.1
    x = (1 - t) * clean + t * noise
    ratio = (1 - t) / (1 - s)
    # x_t = ratio x_s + fresh; x_s given x_0 is N((1 - s) x_0, s^2).
    added = t**2 - ratio**2 * s**2
    gain = s**2 * ratio / t**2
    mean = (1 - s) * clean + gain * (x - ratio * (1 - s) * clean)
    variance = s**2 * added / t**2
    batch = tf.fill((200000,), tf.constant(x, tf.float32))
    steps = diffusion.ddpm(lambda _, __: (clean, noise), batch, 4)
    next(steps)
    drawn = next(steps).numpy()  # from 0.75 to 0.5
    assert drawn.mean() == pytest.approx(mean, abs=0.005)
    assert drawn.var() == pytest.approx(variance, rel=0.02)


def test_guidance_of_one_is_the_label_and_of_zero_none(eager):
    model = UNet((8, 8))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.1, weight.shape))
    labels, x = np.array([2, 7], np.int32), tf.random.stateless_normal((2, 8, 8, 1), (1, 2))

    def velocity(guidance, wanted):
        clean, noise = diffusion.guided(model, wanted, guidance)(x, 0.5)
        return (noise - clean).numpy()

    label, none = velocity(1, labels), velocity(1, np.full(2, 10, np.int32))
    np.testing.assert_allclose(velocity(0, labels), none, atol=1e-5)
    np.testing.assert_allclose(velocity(3, labels), none + 3 * (label - none), atol=1e-5)
    assert np.abs(label - none).max() > 1e-3


def test_the_group_norm_is_that_of_keras():
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (2, 5, 4, 24)).astype(np.float32)
    weights = list(random.normal(size=(2, 24)))
    layers = [norm(24), keras.layers.GroupNormalization(GROUPS, epsilon=EPSILON)]
    layers[1].build(x.shape)
    for layer in layers:
        layer.set_weights(weights)
    np.testing.assert_allclose(*(layer(x) for layer in layers), atol=1e-5)


def test_frechet_distance():
    random = np.random.default_rng(0)
    a = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    b = random.normal(1, 2, (400, 6))
    b[:, 0] = 0  # a dead feature
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(cov_a @ (cov_b + 1e-14 * np.eye(6))).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert diffusion.frechet(a, b) == pytest.approx(expected, rel=1e-5)
    assert diffusion.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert diffusion.frechet(a, a + 2) == pytest.approx(4 * 6)


def test_digits_are_averaged_squares():
    (pictures, _), _ = data.mnist()
    for side, factor, border in ((14, 2, 0), (28, 1, 0), (8, 4, 2), (16, 2, 2)):
        small = diffusion.shrink(pictures[:3], side)
        assert small.shape == (3, side, side, 1) and small.dtype == np.float32
        row, column = side // 2, side // 2 - 1
        square = pictures[
            1,
            row * factor - border : (row + 1) * factor - border,
            column * factor - border : (column + 1) * factor - border,
        ]
        assert small[1, row, column, 0] == pytest.approx(square.mean() / 127.5 - 1, abs=1e-6)
    with pytest.raises(ValueError, match="cannot be shrunk"):
        diffusion.shrink(pictures[:1], 12)


@pytest.fixture(scope="module")
def judge():
    return diffusion.Judge()


def test_the_judge_knows_digits(judge):
    assert judge.accuracy > 0.95
    (pictures, labels), _ = diffusion.digits()
    real = judge.score(pictures[:1000], labels[:1000])
    noise = judge.score(np.clip(diffusion.start(1000), -1, 1), labels[:1000])
    assert real["accuracy"] > 0.97 and real["distance"] < 3 and 0.9 < real["diversity"] < 1.1
    assert noise["accuracy"] < 0.3 and noise["distance"] > 50


def test_the_checkpoint_draws_the_digit_asked_for(judge):
    labels, unet = np.repeat(np.arange(10, dtype=np.int32), 4), diffusion.load_unet()
    pictures = diffusion.sample(unet, labels, steps=8, guidance=2.0)
    assert judge.score(pictures, labels)["accuracy"] > 0.9
    again = diffusion.sample(unet, labels, steps=8, guidance=2.0)
    np.testing.assert_array_equal(pictures, again)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    (tmp_path / "diffusion").mkdir()
    (tmp_path / "diffusion" / "unet14.npz").write_bytes(b"not a file")
    (tmp_path / store.MANIFEST).write_text(f"5 {'0' * 64} diffusion/unet14.npz\n", encoding="utf-8")
    with pytest.raises(StudyError, match="git checkout"):
        diffusion.load_unet()
