"""Training: what is learnt, and that nothing is lost when it is killed."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from mini_sora_dit_apart import train
from mini_sora_dit_tiny import install
from PIL import Image

from forked import HOW
from mini_sora_dit import clips, storage, training
from mini_sora_dit.__main__ import main
from mini_sora_dit.settings import Settings, Wish
from tf_study import model_folder, workers
from tf_study.errors import StudyError

TINY = Settings(
    side=8, width=12, depth=1, heads=2, autoencoder_width=4, latent=2, autoencoder_steps=4, steps=4, every=2
)
FILES = ("autoencoder.npz", "transformer.npz", "model.json")


@pytest.fixture(scope="module")
def data(folder):
    return clips.load(str(folder), 8, 9)


@pytest.fixture(scope="module")
def trainings(folder, arguments, tmp_path_factory):
    """The folder of a finished model of :mod:`mini_sora_dit_tiny`, and what a kill would have left of it at three
    moments: after twenty steps of the first network, and after none and twenty of the second.
    """
    output, moments = tmp_path_factory.mktemp("끝") / "모델", tmp_path_factory.mktemp("멈춤")
    killed = {moments / "처음": ("autoencoder", 20), moments / "사이": ("transformer", 0)}
    killed[moments / "끝"] = ("transformer", 20)
    save = training.Stage.save

    def save_and_look(stage, *rest):
        save(stage, *rest)
        for path, moment in killed.items():
            if moment == (stage.name, len(stage.losses)):
                shutil.copytree(output, path)

    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        patch.setattr(training.Stage, "save", save_and_look)
        assert main(["train", str(folder), "--output", str(output), *arguments]) == 0
    return output, list(killed)


@pytest.fixture(scope="module")
def trained(trainings):
    """The folder of the finished model. Tests must not change it."""
    return trainings[0]


def test_both_losses_fall(trained, data, monkeypatch):
    first, second, *flow = storage.read_card(trained)["progress"]
    assert second["loss"] < first["loss"] and second["psnr"] > first["psnr"]
    install(monkeypatch.setattr)
    animator = storage.load_animator(trained)
    clean = animator.autoencoder.encode(data.train)
    np.testing.assert_allclose(np.mean(clean, (0, 1, 2, 3)), 0, atol=0.3)
    np.testing.assert_allclose(np.std(clean, (0, 1, 2, 3)), 1, atol=0.3)
    nothing = 1 + np.mean(np.square(clean))  # the loss of a network that answers 0
    assert flow[1]["loss"] < flow[0]["loss"] < nothing and flow[1]["loss"] < 0.85 * nothing
    noise = np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
    rest = (tf.zeros(len(clean)), tf.fill(len(clean), 0.5), tf.constant(noise))
    errors = training.flow_errors(animator.model, clean, tf.constant(data.labels), *rest)
    assert np.mean(errors) < 0.95 * nothing  # also of the average, which is what draws


def test_finished_folder(trained):
    card = storage.read_card(trained)
    assert {path.name for path in trained.iterdir()} == {*FILES, "sheets"}
    names = [f"{stage}_{step:06d}.png" for stage in ("autoencoder", "transformer") for step in (20, 40)]
    assert sorted(path.name for path in (trained / "sheets").iterdir()) == names
    assert card["classes"] == ["빨강", "파랑"] and card["directions"] == [] and card["channels"] == 3
    assert [(row["stage"], row["step"]) for row in card["progress"]] == [
        ("autoencoder", 20), ("autoencoder", 40), ("transformer", 20), ("transformer", 40)
    ]  # fmt: skip
    with Image.open(trained / "sheets" / names[-1]) as sheet:
        assert sheet.mode == "RGB" and sheet.size == (3 * (9 * 9 + 1), 3 * (10 * 9 + 1))


def test_killed_and_resumed_is_to_the_bit_as_if_never_killed(
    folder, arguments, trainings, tmp_path, capsys, monkeypatch
):
    """A kill leaves the files as they were at that moment, without a chance to tidy up."""
    trained, killed = trainings
    first, between, second = (
        shutil.copytree(path, tmp_path / str(place)) for place, path in enumerate(killed)
    )
    assert (first / "state.npz").exists() and not (first / "model.json").exists()
    assert main(["sample", str(first), "--output", str(tmp_path / "a.png")]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err

    install(monkeypatch.setattr)
    step = training.Stage.step

    def interrupted(stage):
        if stage.name == "transformer":
            raise KeyboardInterrupt
        return step(stage)

    monkeypatch.setattr(training.Stage, "step", interrupted)
    assert main(["train", str(folder), "--output", str(first), *arguments]) == 130
    assert "오토인코더에서 마친 스텝: 20" in capsys.readouterr().out
    assert (first / "state.npz").read_bytes() == (between / "state.npz").read_bytes()
    monkeypatch.setattr(training.Stage, "step", step)
    assert main(["train", str(folder), "--output", str(second), *arguments]) == 0
    assert "트랜스포머에서 마친 스텝: 20" in capsys.readouterr().out
    for output, names in ((first, ["autoencoder_000040.png"]), (second, os.listdir(trained / "sheets"))):
        for name in (f"sheets/{name}" for name in names):
            assert (output / name).read_bytes() == (trained / name).read_bytes(), name
    for name in FILES:
        assert (second / name).read_bytes() == (trained / name).read_bytes(), name
    assert not (second / "state.npz").exists()


def test_a_full_disk_leaves_the_old_state(data, tmp_path, monkeypatch):
    def full(path, **arrays):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage = training.AutoencoderStage(data, TINY)
    stage.save(tmp_path / "state.npz", [], [])
    before = (tmp_path / "state.npz").read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StudyError, match="권한과 남은 공간을 확인하세요"):
        stage.save(tmp_path / "state.npz", [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    assert (tmp_path / "state.npz").read_bytes() == before
    (tmp_path / "state.npz").write_bytes(before[: len(before) // 2])
    with pytest.raises(StudyError, match="깨졌으니 --restart로"):
        stage.load(tmp_path / "state.npz", [])


def test_two_devices_learn_what_one_learns(folder, arguments, trained, tmp_path):
    """In a process of its own, since this one has already started with one device."""
    command = ["train", str(folder), "--output", str(tmp_path / "모델"), "--devices", "2", *arguments]
    told = tmp_path / "오류.txt"
    assert workers.run(train, 1, **HOW, arguments=command, complaints=str(told)) == [0]
    # the files that were skipped, nothing else
    assert len(told.read_text(encoding="utf-8").splitlines()) == 4, told.read_text(encoding="utf-8")
    one, two = (storage.read_card(path)["progress"] for path in (trained, tmp_path / "모델"))
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-3)
    for name in FILES[:2]:
        with np.load(trained / name) as a, np.load(tmp_path / "모델" / name) as b:
            # Sums in another order differ in the last bits, and Adam magnifies this where gradients are near zero;
            # forty steps of 0.01 have moved the weights by far more.
            assert max(np.abs(a[key] - b[key]).max() for key in a.files) < 0.02, name


def test_digits_are_judged_while_the_network_learns(tmp_path, capsys, monkeypatch, eager):
    monkeypatch.setattr(training, "SEEN", 8)
    monkeypatch.setattr(training, "SHEET", Wish("euler", 2, 2.0))
    sizes = ["--width", "12", "--depth", "1", "--heads", "2", "--batch", "4", "--steps", "2"]
    command = ["train", "mnist", "--output", str(tmp_path), "--autoencoder-steps", "0", *sizes]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "영상 필요할 때 만듭니다" in out and "정확도" in out and "움직임 오차" in out
    (row,) = storage.read_card(tmp_path)["progress"]
    assert {"accuracy", "same", "motion", "direction", "loss", "stage", "step"} == row.keys()
    course, own = (storage.load_animator(path).autoencoder.weights for path in (None, tmp_path))
    for a, b in zip(course, own, strict=True):
        np.testing.assert_array_equal(a, b)
    assert main([*command, "--restart", "--side", "32"]) == 1
    assert "--autoencoder-steps를 1 이상으로" in capsys.readouterr().err


def test_steps_and_seeds_draw_other_clips_and_other_noise(data, eager):
    drawn = []

    class Seen(training.AutoencoderStage):
        def loss(self, clip, labels, draw):
            drawn.append((clip.numpy(), draw(0, (3,), normal=True).numpy()))
            return super().loss(clip, labels, draw)

    for seed in (0, 1):
        stage = Seen(data, Settings(**(TINY.as_json() | {"seed": seed})))
        stage.step()
        stage.step()
    for place, (clip, noise) in enumerate(drawn):
        for other, more in drawn[place + 1 :]:
            assert np.abs(clip - other).max() > 0.1 and np.abs(noise - more).max() > 0.1


def test_a_run_is_not_mixed_with_another(data, trained, tmp_path):
    about = {"settings": TINY.as_json(), "fingerprint": data.fingerprint()}
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about))
    training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="다른 설정으로 하던 학습이 있으니"):
        training.check_output(tmp_path, Settings(), data)
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about | {"fingerprint": "another"}))
    with pytest.raises(StudyError, match="영상이 중단한 때와 다르니"):
        training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="학습을 마친 모델이 있으니"):
        training.check_output(trained, TINY, data)
    (tmp_path / "state.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(StudyError, match="깨졌으니 --restart로"):
        training.check_output(tmp_path, TINY, data)
    training.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Stage, "step", lambda stage: float("nan"))
    with pytest.raises(StudyError, match="손실이 수가 아니게 되었으니 학습률을 줄이고 --restart로"):
        training.train(data, tmp_path, TINY, report=[].append)
    assert list(tmp_path.iterdir()) == []
