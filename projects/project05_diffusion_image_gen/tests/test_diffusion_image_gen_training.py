"""Training: what is read, what is learnt, and that nothing is lost when it is killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from diffusion_image_gen import pictures, storage, training
from diffusion_image_gen.__main__ import main
from diffusion_image_gen.settings import Settings
from tf_study import devices, model_folder
from tf_study import pictures as files
from tf_study.errors import StudyError

PROJECT = Path(__file__).resolve().parents[1]
TINY = Settings(side=8, widths=(8,), steps=6, batch=8, every=3)


@pytest.fixture(scope="module")
def data(folder):
    return pictures.load(str(folder), 8)


def start(folder, output, arguments, *more):
    command = [
        sys.executable,
        "-m",
        "diffusion_image_gen",
        "train",
        folder,
        "--output",
        output,
        *arguments,
        *more,
    ]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_folder_becomes_pictures_and_reasons(data):
    assert data.classes == ("빨강", "파랑") and data.channels == 3
    assert data.train.shape == (34, 8, 8, 3) and data.test.shape == (6, 8, 8, 3)
    assert data.train.dtype == np.float32 and data.labels.dtype == np.int32
    red, blue = (data.train[data.labels == label].mean((0, 1, 2)) for label in (0, 1))
    assert red[0] > 0.4 > red[2] and blue[2] > 0.4 > blue[0]
    assert [name for name, _ in data.skipped] == ["빨강/잘림.png", "파랑/글.jpg"]
    assert all(reason.endswith("폴더에서 빼세요.") for _, reason in data.skipped)


def test_grey_files_have_one_channel(tmp_path):
    for name, level in (("a", 30), ("b", 200)):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("L", (9, 9), level + number).save(tmp_path / name / f"{number}.png")
    data = pictures.load(str(tmp_path), 8)
    assert data.channels == 1
    assert sorted(files.to_bytes(data.train[data.labels == 1]).mean((1, 2, 3)))[0] >= 200
    kept = np.concatenate([data.train, data.test]).mean((1, 2, 3))
    assert len(np.unique(kept)) == 8  # Every file is in one of the parts.


@pytest.mark.parametrize("name, classes", [("mnist", "0 1 2 3 4 5 6 7 8 9"), ("fashion", "티셔츠 바지")])
def test_named_data(name, classes):
    data = pictures.load(name, 14)
    assert data.train.shape == (5000, 14, 14, 1) and " ".join(data.classes).startswith(classes)
    assert data.train.min() == -1 and data.train.max() == 1
    with pytest.raises(StudyError, match="7, 8, 14, 16, 28, 32 가운데 고르세요"):
        pictures.load(name, 20)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(StudyError, match="폴더를 열 수 없으니 mnist, fashion이나"):
        pictures.load(str(tmp_path / "없음"), 8)
    with pytest.raises(StudyError, match="클래스 폴더가 둘보다 적으니"):
        pictures.load(str(tmp_path), 8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(StudyError, match="클래스 'a'에 읽을 수 있는 그림이 0장뿐이니 4장 이상 넣거나"):
        pictures.load(str(tmp_path), 8)


def test_bytes_and_back():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(files.to_bytes(levels.astype(np.float32) / 127.5 - 1), levels)
    sheet = files.grid(np.linspace(-1, 1, 3)[:, None, None, None] * np.ones((3, 2, 2, 1)), 2, scale=3)
    assert sheet.size == (21, 21) and sheet.getpixel((3, 3)) == 0 and sheet.getpixel((3, 12)) == 255


def test_the_loss_falls(trained, data):
    # Noise has variance 1 and the pictures' is known, so a network that answers 0 has this loss.
    nothing = 1 + (data.train**2).mean()
    first, second = storage.read_card(trained)["losses"]
    assert first < nothing and second < 0.6 * nothing
    noise = np.random.default_rng(0).normal(size=data.train.shape).astype(np.float32)
    guess = storage.load_painter(trained).velocity((data.train + noise) / 2, 0.5, tf.constant(data.labels))
    assert (
        np.mean((guess - (noise - data.train)) ** 2) < 0.6 * nothing
    )  # also of the average, which is what draws


def test_mixed_precision_computes_in_16_bits_and_keeps_32(data, monkeypatch):
    """But for the time: in bfloat16 999 would be 1000."""
    trainer = training.Trainer(data, Settings(side=8, widths=(8,), batch=8, mixed=True))
    model, average = trainer.model, trainer.average
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(float("gamma" in weight.path), 0.15, weight.shape))
    average.set_weights(model.get_weights())
    embed, seen = model.embed, []
    monkeypatch.setattr(model, "embed", lambda time, label: seen.append(time.dtype) or embed(time, label))
    inputs = dict(time=tf.constant([999.0, 1000.0]), label=tf.constant([0, 1]))
    half, whole = (network(data.train[:2], **inputs) for network in (model, average))
    assert (half.dtype, whole.dtype) == (tf.bfloat16, tf.float32)
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    error = np.abs(tf.cast(half, tf.float32) - whole).max() / np.abs(whole).max()
    assert 1e-4 < error < 0.05  # bfloat16 has 8 bits
    assert seen == [tf.float32]


def test_finished_folder(trained):
    card = storage.read_card(trained)
    assert {path.name for path in trained.iterdir()} >= {"model.json", "weights.npz", "sheets"}
    assert sorted(path.name for path in (trained / "sheets").iterdir()) == ["000030.png", "000060.png"]
    assert card["classes"] == ["빨강", "파랑"] and len(card["losses"]) == 2
    with Image.open(trained / "sheets" / "000060.png") as sheet:
        assert sheet.mode == "RGB" and sheet.size == (4 * (8 * 9 + 1), 4 * (2 * 9 + 1))


def test_killed_and_resumed_is_to_the_bit_as_if_never_killed(folder, arguments, trained, tmp_path, capsys):
    output = tmp_path / "모델"
    with start(folder, output, arguments) as process:
        for line in process.stdout:
            if line.startswith("[30/60]"):
                process.send_signal(signal.SIGKILL)  # no chance to tidy up
                break
    assert process.wait() == -signal.SIGKILL
    assert (output / "state.npz").exists() and not (output / "model.json").exists()
    assert main(["sample", str(output), "--output", str(tmp_path / "a.png")]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err

    assert main(["train", str(folder), "--output", str(output), *arguments]) == 0
    assert "마친 스텝: 30" in capsys.readouterr().out
    for name in ("weights.npz", "model.json", "sheets/000030.png", "sheets/000060.png"):
        assert (output / name).read_bytes() == (trained / name).read_bytes(), name
    assert not (output / "state.npz").exists()


def test_two_devices_learn_what_one_learns(folder, arguments, trained, tmp_path):
    with start(folder, tmp_path / "모델", arguments, "--devices", "2") as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    one, two = (storage.read_card(path) for path in (trained, tmp_path / "모델"))
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    with np.load(trained / "weights.npz") as a, np.load(tmp_path / "모델" / "weights.npz") as b:
        # Sums in another order differ in the last bits. Adam divides by the size of the gradients and so magnifies
        # this where they are near zero; sixty steps of 0.01 have moved the weights by far more.
        assert max(np.abs(a[name] - b[name]).max() for name in a.files) < 0.01


def test_a_run_is_not_mixed_with_another(data, trained, tmp_path):
    about = {"settings": TINY.as_json(), "fingerprint": data.fingerprint()}
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about))
    training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="다른 설정으로 하던 학습이 있으니"):
        training.check_output(tmp_path, Settings(), data)
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about | {"fingerprint": "another"}))
    with pytest.raises(StudyError, match="그림이 중단한 때와 다르니"):
        training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="학습을 마친 모델이 있으니"):
        training.check_output(trained, TINY, data)
    (tmp_path / "state.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(StudyError, match="깨졌으니 --restart로"):
        training.check_output(tmp_path, TINY, data)
    training.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number(data, tmp_path, monkeypatch):
    class Broken:
        def __init__(self, pictures, settings):
            self.losses = []

        def step(self):
            return float("nan")

    monkeypatch.setattr(training, "Trainer", Broken)
    with pytest.raises(StudyError, match="손실이 수가 아니게 되었으니 --rate를 줄이고 --restart로"):
        training.train(data, tmp_path, TINY, report=[].append)
    assert list(tmp_path.iterdir()) == []


def test_more_devices_than_there_are():
    with pytest.raises(StudyError, match="장치가 1개뿐이니 --devices를 줄이거나"):
        devices.strategy_for(2)  # This process has already used its one.
