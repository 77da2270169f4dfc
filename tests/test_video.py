"""Clips, their judge, the causal autoencoder, the video transformer and their checkpoints."""

import tf_study  # noqa: F401  isort: skip

import numpy as np
import pytest
import tensorflow as tf

from tf_study import video
from tf_study.models import causal_vae, video_dit


def random_weights(model, spread=0.2):
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, spread, weight.shape))
    return model


@pytest.fixture(scope="module")
def real():
    return video.clips(200, seed=77, test=True)


@pytest.fixture(scope="module")
def judge():
    return video.Judge()


def test_clips_keep_their_speed_between_walls(real):
    assert real.pictures.shape == (200, 9, 16, 16, 1) and real.pictures.dtype == np.float32
    assert real.path.min() >= 0 and real.path.max() <= 6
    speed = np.abs(np.diff(real.path, axis=1))
    first = speed[:, :1]
    kept = np.isclose(speed, first, atol=1e-4)
    turned = ~kept
    # A step in which a wall is met is shorter; two of them may follow each other only in different directions.
    assert kept[:, 0].all() and 0.05 < turned.mean() < 0.5
    assert (speed[turned] < np.broadcast_to(first, speed.shape)[turned]).all()
    ahead = real.path[:, 1] > real.path[:, 0]
    np.testing.assert_array_equal(2 * ahead[:, 0] + ahead[:, 1], real.labels[:, 1])
    again = video.clips(200, seed=77, test=True)
    np.testing.assert_array_equal(again.pictures, real.pictures)
    longer = video.clips(200, seed=77, test=True, frames=12)
    np.testing.assert_allclose(longer.pictures[:, :9], real.pictures, atol=1e-5)


def test_a_digit_between_pixels_is_shared_out():
    dot = np.zeros((1, 10, 10), np.float32)
    dot[0, 0, 0] = 1
    films, _, path = video.draw(tf.constant(3), 5, tf.constant(dot), tf.constant([0]))
    light = (films.numpy()[..., 0] + 1) / 2
    np.testing.assert_allclose(light.sum((2, 3)), 1, atol=1e-5)
    rows = (light.sum(3) * np.arange(16)).sum(2)
    np.testing.assert_allclose(rows, path[..., 0], atol=1e-4)


def test_the_judge_tells_real_from_shuffled_clips(real, judge):
    scores = judge.score(real.pictures, real.labels)
    assert scores["accuracy"] > 0.93 and scores["same"] > 0.93
    assert scores["motion"] < 0.2 and scores["direction"] == 1
    order = np.random.default_rng(0)
    mixed = np.stack([clip[order.permutation(9)] for clip in real.pictures])
    mixed = judge.score(mixed, real.labels)
    assert mixed["accuracy"] == scores["accuracy"]  # a judge of frames alone sees nothing
    assert mixed["motion"] > 1 and mixed["direction"] < 0.6


def test_motion_error_of_a_known_stray(real):
    moved = real.pictures.copy()
    moved[:, 4] = moved[:, 0]  # one frame out of place
    assert np.median(video.motion_error(moved)) > 3 * np.median(video.motion_error(real.pictures))


def test_autoencoder_never_looks_ahead():
    model = random_weights(causal_vae.CausalAutoencoder(width=8))
    clip = np.random.default_rng(1).normal(size=(2, 13, 16, 16, 1)).astype(np.float32)
    latent = model.encode(clip).numpy()
    assert latent.shape == (2, 4, 4, 4, 4) and model(clip).shape == clip.shape
    changed = clip.copy()
    changed[:, 9:] += 1
    other = model.encode(changed).numpy()
    np.testing.assert_array_equal(other[:, :3], latent[:, :3])
    assert np.abs(other[:, 3] - latent[:, 3]).max() > 1e-3
    np.testing.assert_allclose(model.encode(clip[:, :1]), latent[:, :1], atol=1e-5)  # a picture is a clip
    later = latent.copy()
    later[:, 2:] += 1
    np.testing.assert_array_equal(model.decode(later)[:, :5], model.decode(latent)[:, :5])


def test_latents_are_scaled_by_what_was_measured():
    model = random_weights(causal_vae.CausalAutoencoder(width=8))
    clip = video.clips(3).pictures
    plain, picture = model.encode(clip).numpy(), model(clip).numpy()
    model.mean.assign([1.0, 2.0, 3.0, 4.0])
    model.deviation.assign([2.0, 2.0, 4.0, 4.0])
    np.testing.assert_allclose(model.encode(clip), (plain - [1, 2, 3, 4]) / [2, 2, 4, 4], atol=1e-5)
    np.testing.assert_allclose(model(clip), picture, atol=1e-4)


def test_rotation_depends_on_the_offset_alone():
    angles = video_dit.rotary_angles((4, 5, 6), 12)
    random = np.random.default_rng(0)
    q, k = random.normal(size=(2, 1, 1, 1, 12)).astype(np.float32)
    places = np.arange(4 * 5 * 6).reshape(4, 5, 6)

    def score(a, b):
        turned = [video_dit.rotate(tf.constant(x), angles[places[p]][None]) for x, p in ((q, a), (k, b))]
        return float(tf.reduce_sum(turned[0] * turned[1]))

    assert score((0, 1, 2), (1, 3, 1)) == pytest.approx(score((2, 2, 4), (3, 4, 3)), abs=1e-5)
    for other in ((2, 3, 1), (1, 4, 1), (1, 3, 2)):  # each axis counts
        assert abs(score((0, 1, 2), (1, 3, 1)) - score((0, 1, 2), other)) > 1e-3
    with pytest.raises(ValueError, match="divisible by 6"):
        video_dit.rotary_angles((2, 2, 2), 8)


def test_transformer_starts_at_zero_and_reads_everything_it_is_given():
    model = video_dit.VideoDiT(width=24, depth=2, heads=2)
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 4, 4, 4)).astype(np.float32)
    given = dict(
        time=np.array([10, 700], np.float32),
        labels=np.array([[1, 2], [9, 0]], np.int32),
        first=random.normal(size=(2, 4, 4, 4)).astype(np.float32),
        known=np.array([1, 0], np.float32),
    )
    assert not model(x, **given).numpy().any()
    random_weights(model)
    answer = model(x, **given).numpy()
    for name, value in (("time", given["time"] + 50), ("labels", given["labels"][::-1])):
        assert np.abs(model(x, **(given | {name: value})) - answer).max(axis=(1, 2, 3, 4)).min() > 1e-3
    other = np.abs(model(x, **(given | {"first": given["first"] + 1})) - answer).max(axis=(1, 2, 3, 4))
    assert other[0] > 1e-3 and other[1] == 0  # only where it is known


def test_checkpoints_move_the_digit_asked_for(judge):
    labels = np.stack([np.arange(20) % 10, np.arange(20) % 4], 1).astype(np.int32)
    autoencoder, model = video.load_autoencoder(), video.load_dit()
    scores = judge.score(video.sample(model, autoencoder, labels, steps=10), labels)
    assert scores["accuracy"] > 0.9 and scores["direction"] > 0.9 and scores["motion"] < 0.8


def test_a_clip_begins_with_the_picture_given(real):
    autoencoder, model = video.load_autoencoder(), video.load_dit()
    first = real.pictures[:10, 0]
    clips = video.sample(model, autoencoder, real.labels[:10], steps=10, first=first)
    other = video.sample(model, autoencoder, real.labels[:10], steps=10)
    assert np.mean((clips[:, 0] - first) ** 2) < 0.2 * np.mean((other[:, 0] - first) ** 2)
