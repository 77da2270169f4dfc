"""The measures on clips for which the answer is known, and what the course's model is worth by them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mini_sora_dit import ablation, evaluation, storage, training
from mini_sora_dit.clips import Square
from mini_sora_dit.settings import SQUARE, Wish
from tf_study.errors import StudyError

COUNT = 40


@pytest.fixture(scope="module")
def yardstick():
    return evaluation.Yardstick(storage.read_card(None), COUNT)


def test_each_fault_is_found_by_its_measure(yardstick):
    real, labels = yardstick.real, yardstick.labels
    true = yardstick.measure(real, labels)
    assert true["accuracy"] > 0.9 and true["same"] > 0.9 and true["motion"] < 0.2 and true["direction"] == 1

    mixed = yardstick.measure(evaluation.shuffled(real), labels)
    assert mixed["accuracy"] == true["accuracy"]  # Who looks at frames alone sees nothing.
    assert mixed["motion"] > 5 * true["motion"] and mixed["distance"] > true["distance"] + 5

    still = yardstick.measure(np.repeat(real[:, :1], 9, 1), labels)
    assert still["motion"] < 0.01 and still["distance"] > 5 * true["distance"]

    back = yardstick.measure(real[:, ::-1], labels)
    assert back["motion"] == pytest.approx(true["motion"], abs=0.05) and back["direction"] < 0.6

    order = np.argsort(labels[:, 0], kind="stable")
    others = np.roll(order, COUNT // 2)
    changed = real[order].copy()
    changed[:, 5:] = real[others][:, 5:]  # another digit in the middle of the clip
    assert yardstick.measure(changed, labels[order])["same"] < 0.3

    wrong = yardstick.measure(real, np.stack([(labels[:, 0] + 1) % 10, 3 - labels[:, 1]], 1))
    assert wrong["accuracy"] < 0.05 and wrong["direction"] == 0


def test_the_model_of_the_course(yardstick, load):
    """What the README says of it, with room for the small number of clips."""
    animator = load(None)
    numbers, clips = evaluation.evaluate(animator, yardstick, Wish(steps=4))
    drawn, begun, again = (numbers[name] for name in ("drawn", "begun", "again"))
    assert drawn["accuracy"] > 0.9 and drawn["direction"] > 0.95 and drawn["motion"] < 0.7
    assert begun["direction"] > 0.95 and numbers["shuffled"]["motion"] > 2 * drawn["motion"]
    assert again["accuracy"] > 0.8 and drawn["distance"] < 100
    # The first frame that was given comes back as the autoencoder can tell it.
    np.testing.assert_allclose(clips["begun"][:, 0], clips["again"][:, 0], atol=1e-4)
    long = animator.draw(yardstick.labels[:8], range(8), Wish(steps=4, frames=21))
    assert yardstick.judge.score(long, yardstick.labels[:8])["accuracy"] > 0.8


def test_larger_frames_are_averaged():
    clips = np.arange(2 * 1 * 32 * 32, dtype=np.float32).reshape(2, 1, 32, 32, 1)
    small = evaluation.shrink(clips)
    assert small.shape == (2, 1, 16, 16, 1)
    assert small[1, 0, 3, 5, 0] == clips[1, 0, 6:8, 10:12, 0].mean()


def test_psnr_by_hand():
    assert evaluation.psnr(np.zeros((1, 4)), np.full((1, 4), 0.2)) == pytest.approx(20)  # 10 log10(4 / 0.04)


def test_training_is_drawn_measure_by_measure():
    first = [{"stage": "autoencoder", "step": 5, "loss": 1.0, "psnr": 3.0}]
    rows = [
        {"stage": "transformer", "step": n, "loss": 0.1, "motion": 1 / n, "direction": 0.5} for n in (10, 20)
    ]
    motion, direction = evaluation.draw_training(first + rows).axes
    assert (motion.get_title(), direction.get_title()) == ("움직임 오차 (픽셀)", "방향")
    np.testing.assert_array_equal(motion.lines[0].get_data(), [[10, 20], [0.1, 0.05]])


def test_other_clips_have_no_judge(finished):
    with pytest.raises(StudyError, match="심판은 움직이는 숫자만 알아보니 mnist로"):
        evaluation.Yardstick(storage.read_card(finished), 4)


def square(labels, wobble=0.0):
    """Clips of a 3x3 square that crosses as labels say; ``wobble`` moves every other frame, in pixels."""
    clips = np.full((len(labels), 9, 8, 8, 1), -1, np.float32)
    for clip, (label,) in zip(clips, labels, strict=True):
        for t in range(9):
            left = t // 2 if label else 4 - t // 2
            top = 2 + round(wobble) * (t % 2)
            clip[t, top : top + 3, left : left + 3] = 1
    return clips


def test_crossing_of_known_squares():
    labels = np.array([[0], [1], [1], [0]], np.int32)
    true = evaluation.crossing(square(labels), labels)
    assert true["direction"] == 1 and true["motion"] < 0.3
    assert evaluation.crossing(square(labels), 1 - labels)["direction"] == 0
    still = evaluation.crossing(square(labels)[:, [0] * 9], labels)
    assert still["direction"] == 0 and still["motion"] < 1e-9
    # A wobble of 2 pixels strays by 1 from the middle.
    assert evaluation.crossing(square(labels, 2), labels)["motion"] == pytest.approx(1, abs=0.1)
    real, asked = Square(8, 9).held_out(50)
    true = evaluation.crossing(real, asked)
    assert true["direction"] == 1 and true["motion"] < 0.1
    assert evaluation.crossing(evaluation.shuffled(real), asked)["motion"] > 1


def test_ablation_trains_each_model_with_each_seed(tmp_path, monkeypatch):
    seen = []

    class Stage:
        """Stands in for a training; without attention over time the frames come out of order."""

        def __init__(self, data, settings, autoencoder=None):
            seen.append((settings.seed, settings.without, autoencoder is None))
            self.settings, self.steps, self.losses = settings, 3, []
            self.animator = self.average = self.model = self

        def __call__(self, clips):
            return clips

        def measure(self):
            assert len(self.losses) == 3

        def step(self):
            self.losses.append(0)

        def draw(self, labels, seeds, wish):
            assert len(self.losses) == 3
            real, _ = Square(8, 9).held_out(len(labels))
            return evaluation.shuffled(real) if self.settings.without == "time" else real

    monkeypatch.setattr(training, "TransformerStage", Stage)
    monkeypatch.setattr(training, "AutoencoderStage", Stage)
    monkeypatch.setattr(ablation, "held_out_loss", lambda *rest: lambda model: float(model.settings.seed))
    real, again, *rows, table, paths = ablation.run(tmp_path, 2, SQUARE)
    once = [(seed, without, False) for seed in (0, 1) for without in ("", "time", "rope", "zero")]
    assert sorted(seen) == sorted([(0, "", True), *once])
    assert len(rows) == 8 and "0.500 (0.000~1.000)" in table and "시간 어텐션 없음" in table
    assert {path.name for path in tmp_path.iterdir()} == {"ablation.json", "ablation.png"}
    found = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))["found"]
    assert found["time"][1]["motion"] > 1 > found[""][1]["motion"]


def test_held_out_loss_is_that_of_the_velocity():
    """Of a network that answers 0, it is the variance of the latents and that of the noise."""

    class Latents:
        def encode(self, clips):
            return tf.fill((len(clips), 3, 2, 2, 4), 2.0)

    loss = ablation.held_out_loss(Square(8, 9), Latents())
    assert loss(lambda x, **rest: 0.0) == pytest.approx(4 + 1, abs=0.1)
    assert loss(lambda x, time, **rest: (2 - x) / (1 - time[:, None, None, None, None] / 1000)) < 1e-3
