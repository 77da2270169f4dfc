"""Training: what is read, what is learnt, and that nothing is lost when it is killed."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from diffusion_image_gen_apart import train
from diffusion_image_gen_tiny import Tiny, roughen
from PIL import Image

from diffusion_image_gen import pictures, storage, training
from diffusion_image_gen.__main__ import main
from diffusion_image_gen.settings import Settings
from forked import HOW
from tf_study import devices, model_folder, workers
from tf_study import pictures as files
from tf_study.errors import StudyError

TINY = Settings(side=8, widths=(8,), steps=6, batch=8, every=3)


@pytest.fixture(scope="module")
def data(folder):
    return pictures.load(str(folder), 8)


@pytest.fixture(scope="module")
def tiny(folder, arguments, tmp_path_factory):
    """Folders of the network :class:`Tiny`: a finished model, and what a kill after thirty steps would have left."""
    finished, killed = (tmp_path_factory.mktemp(name) / "모델" for name in ("끝", "멈춤"))
    save = training.Trainer.save

    def save_and_look(trainer, path):
        save(trainer, path)
        if len(trainer.losses) == 30:
            shutil.copytree(finished, killed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "UNet", Tiny)
        patch.setattr(training.Trainer, "save", save_and_look)
        assert main(["train", str(folder), "--output", str(finished), *arguments]) == 0
    return finished, killed


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


def test_the_loss_falls(data, tiny, monkeypatch):
    # Noise has variance 1 and the pictures' is known, so a network that answers 0 has this loss.
    nothing = 1 + (data.train**2).mean()
    first, second = storage.read_card(tiny[0])["losses"]
    assert first < nothing and second < 0.6 * nothing
    monkeypatch.setattr(storage, "UNet", Tiny)
    noise = np.random.default_rng(0).normal(size=data.train.shape).astype(np.float32)
    guess = storage.load_painter(tiny[0]).velocity((data.train + noise) / 2, 0.5, tf.constant(data.labels))
    # also of the average, which is what draws
    assert np.mean((guess - (noise - data.train)) ** 2) < 0.6 * nothing


def test_mixed_precision_computes_in_16_bits_and_keeps_32(data, monkeypatch):
    """But for the time: in bfloat16 999 would be 1000."""
    trainer = training.Trainer(data, Settings(side=8, widths=(8,), batch=8, mixed=True))
    model, average = trainer.model, trainer.average
    roughen(model)
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


def test_finished_folder(tiny):
    finished, _ = tiny
    card = storage.read_card(finished)
    assert {path.name for path in finished.iterdir()} == {"model.json", "weights.npz", "sheets"}
    assert sorted(path.name for path in (finished / "sheets").iterdir()) == ["000030.png", "000060.png"]
    assert card["classes"] == ["빨강", "파랑"] and len(card["losses"]) == 2
    with Image.open(finished / "sheets" / "000060.png") as sheet:
        assert sheet.mode == "RGB" and sheet.size == (4 * (8 * 9 + 1), 4 * (2 * 9 + 1))


def test_killed_and_resumed_is_to_the_bit_as_if_never_killed(
    folder, arguments, tiny, tmp_path, capsys, monkeypatch
):
    """A kill leaves the files as they were at that moment, without a chance to tidy up."""
    finished, killed = tiny
    output = tmp_path / "모델"
    shutil.copytree(killed, output)
    assert (output / "state.npz").exists() and not (output / "model.json").exists()
    assert main(["sample", str(output), "--output", str(tmp_path / "a.png")]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err

    monkeypatch.setattr(training, "UNet", Tiny)
    assert main(["train", str(folder), "--output", str(output), *arguments]) == 0
    assert "마친 스텝: 30" in capsys.readouterr().out
    for name in ("weights.npz", "model.json", "sheets/000030.png", "sheets/000060.png"):
        assert (output / name).read_bytes() == (finished / name).read_bytes(), name
    assert not (output / "state.npz").exists()


def test_two_devices_learn_what_one_learns(folder, arguments, tiny, tmp_path):
    """In a process of its own, since this one has already started with one device."""
    command = ["train", str(folder), "--output", str(tmp_path / "모델"), "--devices", "2", *arguments]
    assert workers.run(train, 1, **HOW, arguments=command) == [0]
    one, two = (storage.read_card(path) for path in (tiny[0], tmp_path / "모델"))
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    with np.load(tiny[0] / "weights.npz") as a, np.load(tmp_path / "모델" / "weights.npz") as b:
        # Sums in another order differ in the last bits. Adam divides by the size of the gradients and so magnifies
        # this where they are near zero; sixty steps of 0.01 have moved the weights by far more.
        assert max(np.abs(a[name] - b[name]).max() for name in a.files) < 0.01


def test_a_run_is_not_mixed_with_another(data, tiny, tmp_path):
    about = {"settings": TINY.as_json(), "fingerprint": data.fingerprint()}
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about))
    training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="다른 설정으로 하던 학습이 있으니"):
        training.check_output(tmp_path, Settings(), data)
    model_folder.write_npz(tmp_path / "state.npz", [], about=json.dumps(about | {"fingerprint": "another"}))
    with pytest.raises(StudyError, match="그림이 중단한 때와 다르니"):
        training.check_output(tmp_path, TINY, data)
    with pytest.raises(StudyError, match="학습을 마친 모델이 있으니"):
        training.check_output(tiny[0], TINY, data)
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
