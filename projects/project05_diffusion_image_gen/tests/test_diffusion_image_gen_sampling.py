"""Drawing: the same pictures as the course's samplers, and one picture for every seed."""

from collections import deque

import numpy as np
import pytest
import tensorflow as tf

import nbval_needs
from diffusion_image_gen import sampling
from diffusion_image_gen.settings import SAMPLERS, Settings, Wish, default
from tf_study import diffusion
from tf_study.errors import StudyError


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_loop_is_every_sampler_of_the_course(painter, sampler, guidance):
    begin, predict = (
        diffusion.start(1, 8, 1, seed=5),
        diffusion.guided(painter.model, np.array([1]), guidance),
    )
    rows = diffusion.SAMPLERS[sampler](predict, begin, 7, **({"seed": 5} if sampler == "ddpm" else {}))
    wanted = np.clip(deque(rows, maxlen=1)[0], -1, 1)
    np.testing.assert_allclose(painter.draw([1], [5], Wish(sampler, 7, guidance)), wanted, atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_is_a_picture_to_the_bit(painter, sampler, guidance):
    wish = Wish(sampler, 4, guidance)
    alone = painter.draw([1], [5], wish)[0]
    labels, seeds = [0, 2, 1, 1, 0, 1, 2, 1, 1], [9, 5, 5, 4, 0, 8, 1, 2, 5]  # more than one row
    among = painter.draw(labels, seeds, wish)
    np.testing.assert_array_equal(painter.draw([1], [5], wish)[0], alone)
    apart = np.abs(among[[2, 8]] - alone).max()
    # Eigen's sums depend on the place in the batch.
    assert apart == 0 if nbval_needs.onednn() else apart < 1e-5
    for other in (1, 3):  # another class, another seed
        assert np.abs(among[other] - alone).max() > 0.01


def test_noise_is_normal_and_no_two_pieces_are_equal(painter):
    numbers = [sampling.START, *range(sampling.FRESH_FROM, sampling.FRESH_FROM + 20)]
    draw = tf.function(painter.noise)
    noise = np.stack([draw(tf.range(20), tf.constant(number)) for number in numbers])
    noise = noise.reshape(len(numbers) * 20, -1)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert np.abs(np.corrcoef(noise) - np.eye(len(noise))).max() < 0.7  # 64 numbers each: 5.6 standard errors


def test_a_perfect_guess_is_reached_from_anywhere():
    """If every guess of the clean picture is right, each sampler ends there: the weights of x vanish at the end."""
    for sampler in SAMPLERS:
        for steps in (2, 3, 50):
            x = 5.0
            for _, keep, clean, before, fresh in sampling.plan(sampler, steps):
                x = keep * x + (clean + before) * 0.7 + fresh * 3.0
            assert x == pytest.approx(0.7, abs=1e-6)


def test_ddpm_keeps_the_variance_of_the_path():
    """For pictures that are all zero, x_t is t times noise at every step."""
    variance = 1.0
    times = np.append(sampling.plan("ddpm", 10)[1:, 0], 0)
    for (_, keep, _, _, fresh), after in zip(sampling.plan("ddpm", 10), times, strict=True):
        variance = keep**2 * variance + fresh**2
        assert variance == pytest.approx(after**2, abs=1e-6)


def test_wishes_that_cannot_be_granted(painter):
    assert [Wish(name).steps for name in SAMPLERS] == [1000, 50, 20]
    for wrong in ({"sampler": "x"}, {"steps": 0}, {"steps": 1}, {"steps": 1001}, {"guidance": -1}):
        with pytest.raises(StudyError, match="(고르세요|바꾸세요)[.]$"):
            Wish(**wrong)
    for guidance in (float("nan"), float("inf")):
        with pytest.raises(StudyError):
            Wish(guidance=guidance)
    with pytest.raises(StudyError, match="클래스 '라'은.는. 모르니 가, 나, 다 가운데 고르세요"):
        painter.label("라")
    for seed in (-1, 2**31):
        with pytest.raises(StudyError, match="시드"):
            painter.draw([0], [seed], Wish())


def test_settings(monkeypatch):
    assert default() == Settings()
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert default().side == 32
    wrong = [
        {"side": 65},
        {"side": 15},
        {"widths": ()},
        {"widths": (12,)},
        {"steps": 0},
        {"batch": 33, "devices": 2},
    ]
    for fields in [*wrong, {"rate": 0.0}, {"rate": float("nan")}, {"drop": 1.0}, {"seed": -1}]:
        with pytest.raises(StudyError):
            Settings(**fields)
