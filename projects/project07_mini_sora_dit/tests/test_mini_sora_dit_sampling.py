"""Drawing: the clips of the course's sampler, one clip for every seed, known frames and long clips."""

import numpy as np
import pytest
import tensorflow as tf

import nbval_needs
from mini_sora_dit import networks, sampling
from mini_sora_dit.sampling import OVERLAP, plan
from mini_sora_dit.settings import SOLVERS, Settings, Wish, default
from tf_study import video
from tf_study.errors import StudyError


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_euler_is_the_sampler_of_the_course(animator, guidance):
    wanted = video.sample(animator.model, animator.autoencoder, np.array([[1, 2]]), 5, guidance, seed=7)
    drawn = animator.draw([[1, 2]], [7], Wish("euler", 5, guidance))
    np.testing.assert_allclose(drawn, wanted, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_seed_is_a_clip_to_the_bit(animator, solver):
    wish = Wish(solver, 3, 2.0, 13)
    alone = animator.draw([[1, 2]], [5], wish)[0]
    labels = [[0, 0], [2, 1], [1, 2], [1, 2], [0, 3], [1, 2]]
    among = animator.draw(labels, [5, 5, 5, 4, 1, 5], wish)
    np.testing.assert_array_equal(animator.draw([[1, 2]], [5], wish)[0], alone)
    apart = np.abs(among[[2, 5]] - alone).max()
    # Eigen's sums depend on the place in the batch.
    assert apart == 0 if nbval_needs.onednn() else apart < 1e-5
    for other in (1, 3):  # another label, another seed
        assert np.abs(among[other] - alone).max() > 0.01


@pytest.mark.parametrize("solver, order", [("euler", 1), ("adams", 2)])
def test_order_of_the_solvers(solver, order):
    """The error at the end of x' = -2x falls as the steps to the power of the order."""

    def error(steps):
        x, before = 1.0, 0.0
        for _, _, forward, back in plan(solver, steps):
            velocity = -2 * x
            x, before = x + forward * velocity + back * before, velocity
        return abs(x - np.exp(-2))

    assert np.log2(error(20) / error(40)) == pytest.approx(order, abs=0.15)


def test_a_constant_velocity_is_followed_to_the_end():
    for solver in SOLVERS:
        rows = plan(solver, 7)
        assert rows[:, 2:].sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_array_equal(rows[1:, 0], rows[:-1, 1])


def test_noise_is_normal_and_no_two_pieces_are_equal(animator):
    draw = tf.function(animator.noise)
    noise = np.stack([draw(tf.range(30), tf.constant(number)) for number in range(3, 23)]).reshape(600, -1)
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    assert np.abs(np.corrcoef(noise) - np.eye(600)).max() < 0.95  # 24 numbers each: 4.7 standard errors


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_given_first_frame_comes_back_as_the_autoencoder_sees_it(animator, solver):
    rng = np.random.default_rng(0)
    first = rng.uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
    drawn = animator.draw([[0, 1], [1, 1]], [1, 2], Wish(solver, 4), first)
    wanted = np.clip(animator.autoencoder(first[:, None]), -1, 1)
    np.testing.assert_allclose(drawn[:, :1], wanted, atol=1e-5)
    free = animator.draw([[0, 1], [1, 1]], [1, 2], Wish(solver, 4))
    assert np.abs(free - drawn)[:, 1:].max() > 1e-3  # The other frames know of it.


def test_long_clips_continue_short_ones(animator, monkeypatch):
    short = animator.draw([[2, 3]], [4], Wish(steps=3))
    asked = []
    piece = animator._piece
    monkeypatch.setattr(
        animator, "_piece", lambda labels, *rest: asked.append(labels.tolist()) or piece(labels, *rest)
    )
    for frames, pieces in ((5, 1), (9, 1), (10, 2), (13, 2), (14, 3)):
        asked.clear()
        wish = Wish(steps=3, frames=frames)
        long = animator.draw([[2, 3]], [4], wish)
        assert long.shape == (1, frames, 8, 8, 1) and len(asked) == pieces == animator.pieces(wish)
        np.testing.assert_array_equal(long[:, :9], short[:, :frames])
    # A later piece is told where the frames that it begins with go.
    assert asked[1] == [[2, int(video.direction(short[:, -OVERLAP:])[0])]]
    assert asked[2] == [[2, int(video.direction(long[:, 8:13])[0])]]


def test_moments_lead_to_the_clip(animator):
    wish = Wish("adams", 3, 2.0, 12)
    moments = list(animator.stream([[0, 0]], [1], wish))
    assert [(moment.step, moment.steps) for moment in moments] == [(k, 6) for k in range(1, 7)]
    shown = [animator.show(moment) for moment in moments]
    assert [film.shape[1] for film in shown] == [9, 9, 9, 13, 13, 13]
    np.testing.assert_array_equal(shown[-1][:, :12], animator.draw([[0, 0]], [1], wish))
    np.testing.assert_array_equal(shown[3][:, :9], shown[2])  # What is done stays.


def test_what_is_known_stays_on_its_path(animator):
    rng = np.random.default_rng(0)
    x, noise, context = rng.normal(size=(3, 4, 3, 2, 2, 2)).astype(np.float32)
    row = np.array([0.25, 0.75, 0.5, 0.0], np.float32)
    labels = np.zeros((4, 2), np.int32)
    after, velocity, guess = animator.steps[False](x, x, noise, context, 2, labels, row, np.float32(1))
    np.testing.assert_allclose(after[:, :2], 0.25 * noise[:, :2] + 0.75 * context[:, :2], atol=1e-6)
    np.testing.assert_allclose(after[:, 2:], (x + 0.5 * velocity)[:, 2:], atol=1e-6)
    np.testing.assert_array_equal(guess[:, :2], context[:, :2])
    np.testing.assert_allclose(guess[:, 2:], (x + 0.75 * velocity)[:, 2:], atol=1e-6)


def test_a_piece_begins_as_the_last_one_ended_and_has_noise_of_its_own(animator, monkeypatch):
    numbers, draw = [], animator._noise
    monkeypatch.setattr(
        animator, "_noise", lambda seeds, number: numbers.append(number) or draw(seeds, number)
    )
    *_, first, last = list(animator.stream([[1, 1]], [2], Wish(steps=1, frames=13)))
    assert numbers == [sampling.START, sampling.START + 1]
    end = np.repeat(animator.show(first)[:, -OVERLAP:], sampling.ROWS, 0)
    np.testing.assert_allclose(last.latent[:, :2], animator.encode(end)[:1, :2], atol=1e-5)


def test_names_of_labels(animator):
    assert animator.label("나", "왼쪽 아래") == [1, 2]
    for name, direction, part in (
        ("라", "왼쪽 위", "클래스 '라'"),
        ("가", "위", "방향 '위'"),
        ("가", "", "방향 ''"),
    ):
        with pytest.raises(StudyError, match=part):
            animator.label(name, direction)
    plain = sampling.Animator(animator.model, animator.autoencoder, animator.classes)
    assert plain.label("다") == [2]
    with pytest.raises(StudyError, match="방향을 모르니 방향을 빼세요"):
        plain.label("다", "왼쪽 위")


def test_wishes_that_cannot_be_fulfilled():
    for fields in (
        {"solver": "heun"},
        {"steps": 0},
        {"steps": 201},
        {"guidance": -1},
        {"guidance": float("nan")},
    ):
        with pytest.raises(StudyError):
            Wish(**fields)
    for frames in (0, 66):
        with pytest.raises(StudyError, match="길이"):
            Wish(frames=frames)


def test_settings(monkeypatch):
    assert default() == Settings()
    assert default("square").side == 8
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert default().side == 32
    for name, values in {
        "side": (4, 18, 68), "frames": (5, 10, 69), "latent": (0,), "steps": (0,), "autoencoder_steps": (-1,),
        "autoencoder_width": (3,), "width": (90,), "rate": (0.0, float("nan")), "drop": (1.0,), "given": (1.1,),
        "seed": (-1,), "devices": (3,), "without": ("space",),
    }.items():  # fmt: skip
        for value in values:
            with pytest.raises(StudyError):
                Settings(**{name: value})


CARD = {
    "classes": ["a"], "directions": [], "channels": 1, "side": 8, "frames": 9, "autoencoder_width": 4, "latent": 2,
    "width": 12, "depth": 2, "heads": 2,
}  # fmt: skip


def respond(model, x):
    return model(
        x, time=tf.constant([300.0]), labels=tf.constant([[0]]), first=x[:, 0], known=tf.constant([0.0])
    ).numpy()


def roughen(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))


@pytest.mark.parametrize("without, hears", [("", True), ("time", False), ("rope", True)])
def test_without_attention_over_time_frames_do_not_hear_of_each_other(without, hears):
    model = networks.transformer(CARD | {"without": without})
    roughen(model)
    x = np.random.default_rng(1).normal(size=(1, 3, 2, 2, 2)).astype(np.float32)
    other = x.copy()
    other[:, 1] += 1
    change = np.abs(respond(model, other) - respond(model, x)).max((0, 2, 3, 4))
    assert change[1] > 1e-3 and (change[[0, 2]].max() > 1e-4) == hears
    still = networks.transformer(CARD | {"without": ""})
    still.set_weights(model.get_weights())
    if without == "time":  # Within a frame all is as it was: a clip of one frame is the same to both.
        one = networks.transformer(CARD | {"without": "time", "frames": 1})
        one.set_weights(model.get_weights())
        np.testing.assert_allclose(respond(one, x[:, :1]), respond(model, x)[:, :1], atol=1e-5)


@pytest.mark.parametrize("without, blind", [("", False), ("rope", True)])
def test_without_rotation_places_cannot_be_told_apart(without, blind):
    model = networks.transformer(CARD | {"without": without})
    roughen(model)
    x = np.random.default_rng(1).normal(size=(1, 3, 2, 2, 2)).astype(np.float32)
    turned = respond(model, x[:, :, ::-1])[:, :, ::-1]
    assert (np.abs(turned - respond(model, x)).max() < 1e-5) == blind


def test_without_zeros_the_network_answers_at_once():
    x = np.random.default_rng(1).normal(size=(1, 3, 2, 2, 2)).astype(np.float32)
    assert not respond(networks.transformer(CARD | {"without": ""}), x).any()
    loud = networks.transformer(CARD | {"without": "zero"})
    assert np.abs(respond(loud, x)).max() > 0.1
    again = networks.transformer(CARD | {"without": "zero"})
    np.testing.assert_array_equal(loud.leave.kernel, again.leave.kernel)
