"""The measures on clips for which the answer is known, and what the course's model is worth by them."""

import numpy as np
import pytest

from mini_sora_dit import ablation, evaluation, storage, training
from mini_sora_dit.clips import Digits
from mini_sora_dit.settings import Settings, Wish
from tf_study.errors import StudyError

COUNT = 60


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


def test_the_model_of_the_course(yardstick):
    """What the README says of it, with room for the small number of clips."""
    animator = storage.load_animator()
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


def test_other_clips_have_no_judge(trained):
    with pytest.raises(StudyError, match="심판은 움직이는 숫자만 알아보니 mnist로"):
        evaluation.Yardstick(storage.read_card(trained), 4)


def test_ablation_trains_each_model_with_each_seed(tmp_path, monkeypatch):
    seen = []

    class Stage:
        """Stands in for a training: the loss is lower the more there is in the model."""

        def __init__(self, data, settings, autoencoder):
            seen.append((settings.seed, settings.without, settings.steps))
            self.settings, self.animator, self.average = settings, self, self

        def step(self):
            pass

        def draw(self, labels, seeds, wish):
            real, _ = Digits(16, 9).held_out(len(labels))
            return evaluation.shuffled(real) if self.settings.without == "time" else real

    monkeypatch.setattr(training, "TransformerStage", Stage)
    monkeypatch.setattr(ablation, "held_out_loss", lambda *rest: lambda model: float(model.settings.seed))
    *rows, table, paths = ablation.run(tmp_path, 2, Settings(autoencoder_steps=0, steps=3, width=24, depth=1))
    assert len(rows) == 8 and sorted(seen) == sorted(
        (s, w, 3) for s in (0, 1) for w in ("", "time", "rope", "zero")
    )
    assert "0.500 (0.000~1.000)" in table and "시간 어텐션 없음" in table
    assert {path.name for path in tmp_path.iterdir()} == {"ablation.json", "ablation.png"}
    motions = [float(line.split()[-3].strip("()")) for line in rows if "시간" in line]
    assert min(motions) > 1


def test_held_out_loss_is_that_of_the_velocity(monkeypatch):
    monkeypatch.setattr(ablation, "HELD", 32)
    data = Digits(16, 9)
    autoencoder = training.ready_autoencoder(data, Settings(autoencoder_steps=0))
    loss = ablation.held_out_loss(data, autoencoder)
    silent = loss(lambda x, **rest: 0.0)
    assert silent == pytest.approx(2, abs=0.2)  # latents and noise have variance 1
    assert loss(storage.load_animator().model) < 0.5 * silent
