"""Training: what each stage may change, how it stops, and that nothing is lost when it is killed."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nbval_needs
from image_classifier import dataset, storage, training
from image_classifier import model as models
from image_classifier.__main__ import main
from image_classifier.settings import Settings, default
from project_commands import kept_before_writes
from tf_study import data, pretrained
from tf_study.checks.eager import eagerly
from tf_study.errors import StudyError

TINY = Settings("small", pretrained=False, side=32, batch=16, epochs=(1, 6))
SHORT = replace(TINY, batch=32, epochs=(1, 3))
# Without graphs: tf.data's functions stay some, and Keras turns every number into an array of NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the", "ignore:__array__ implementation")
FINISHED = {"model.json", "model.keras", "model.tflite", "model_int8.tflite", "calibration.npz"}


@pytest.fixture(scope="module")
def folder(pictures):
    return dataset.scan(pictures, 32)


@pytest.fixture(scope="module")
def train(folder):
    """Train for three epochs without graphs and without the exports, the slow part of finishing."""

    def train(output, report):
        with pytest.MonkeyPatch.context() as patch, eagerly():
            patch.setattr(training.export, "write_all", lambda model, samples, output: {})
            return training.train(folder, output, SHORT, report)

    return train


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The card of a training of :data:`SHORT`, and copies of its folder: as it was before each file was written, and
    after two epochs, as ``killed``.
    """
    output, before = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("before")

    def look(line):
        if "2/3" in line:
            shutil.copytree(output, before / "killed")

    with kept_before_writes(output, before):
        return train(output, look), before


def scores(card):
    return [[entry[name] for name in ("loss", "val_loss")] for entry in card["history"]]


def test_a_tiny_folder_is_learnt(trained):
    card = storage.read_card(trained)
    assert {path.name for path in trained.iterdir()} >= FINISHED
    assert not (trained / "state.json").exists() and not (trained / "checkpoints").exists()
    assert card["classes"] == ["빨강", "초록", "파랑"] and len(card["skipped"]) == 3
    assert [len(card["split"][name]) for name in ("train", "val", "test")] == [42, 9, 9]
    assert card["best"]["val_loss"] == min(entry["val_loss"] for entry in card["history"])
    assert card["best"]["val_accuracy"] > 0.8  # guessing gives 0.33


def test_killed_and_resumed_is_as_if_never_killed(train, whole, pictures, capsys):
    """A kill leaves the files as they were at that moment, without a chance to tidy up."""
    card, before = whole
    output, told = before / "killed", []
    state = json.loads((output / "state.json").read_text(encoding="utf-8"))
    assert len(state["history"]) == 2
    for name in {entry["file"] for entry in (state["history"][-1], training.best(state["history"]))}:
        keras.models.load_model(output / "checkpoints" / name)
    assert main(["predict", str(output), str(pictures)]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err

    training.check_output(output, SHORT)
    resumed = train(output, told.append)
    assert "마친 에포크: 2" in told[0] and len(told) == 2
    assert [path.name for path in output.iterdir()] == ["model.json"]
    assert resumed["history"][:2] == state["history"]
    np.testing.assert_allclose(scores(resumed), scores(card), rtol=1e-3, atol=1e-3)
    assert resumed["split"] == card["split"]


@pytest.mark.parametrize("moment", ["epoch-0003.keras", "state.json", "model.json"])
def test_stopped_in_the_middle_of_a_write(train, whole, moment):
    card, before = whole
    output = before / moment
    training.check_output(output, SHORT)
    assert not (output / "model.json").exists()
    np.testing.assert_allclose(scores(train(output, [].append)), scores(card), rtol=1e-3, atol=1e-3)
    assert [path.name for path in output.iterdir()] == ["model.json"]


def test_an_interrupted_run_is_not_mixed_with_another(folder, pictures, tmp_path, trained):
    state = {"settings": TINY.as_json(), "fingerprint": "another", "history": []}
    storage.write_json(tmp_path / "state.json", state)
    training.check_output(tmp_path, TINY)
    with pytest.raises(StudyError, match="그림 폴더가 중단한 때와 다르니"):
        training.train(folder, tmp_path, TINY)
    with pytest.raises(StudyError, match="다른 설정으로 하던 학습이 있으니"):
        training.check_output(tmp_path, default("small"))
    with pytest.raises(StudyError, match="학습을 마친 모델이 있으니"):
        training.check_output(trained, TINY)
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match="읽을 수 없으니 train을 --restart로"):
        training.check_output(tmp_path, TINY)
    training.clear(tmp_path)
    training.check_output(tmp_path, TINY)


def test_a_lost_checkpoint_is_said(folder, tmp_path):
    entry = {"stage": 0, "epoch": 1, "file": "epoch-0001.keras", "val_loss": 1.0}
    state = {"settings": TINY.as_json(), "fingerprint": folder.fingerprint(), "history": [entry]}
    storage.write_json(tmp_path / "state.json", state)
    with pytest.raises(StudyError, match="epoch-0001.keras.*깨졌으니"):
        training.train(folder, tmp_path, TINY, report=[].append)


@pytest.mark.parametrize(
    "losses, over",
    [([], False), ([3, 2, 1], False), ([1, 2, 2], True), ([1, 2], False), ([3, 2, 1, 0], True)],
)
def test_early_stopping(losses, over):
    history = [{"stage": 0, "val_loss": 0.5}]  # another stage's epochs do not count
    history += [{"stage": 1, "val_loss": loss} for loss in losses]
    assert training._over(history, 1, epochs=4, patience=2) is over


def weights(model):
    return [weight.numpy() for weight in model.get_layer("backbone").weights]


def test_stages_of_the_small_backbone(folder, eager):
    settings = Settings("small", side=32)
    head, fine = models.stages(settings)
    model = models.build(settings, 3)
    before = weights(model)
    batch = dataset.batches(folder, np.arange(32), 16)
    models.prepare(model, head, 2)
    assert len(model.trainable_weights) == 2
    model.fit(batch, shuffle=False, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True))
    models.prepare(model, fine, 2)
    model.fit(batch, shuffle=False, verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_the_stored_backbone_knows_the_old_classes():
    """A linear head on its features of 300 pictures tells the ten classes of 300 others apart."""
    (x, y), (other, labels) = data.cifar10(train=300, test=300)
    scores = []
    for learnt in (True, False):
        net = models._small(Settings("small", pretrained=learnt))
        features, others = (np.mean(net(part.astype("float32")), axis=(1, 2)) for part in (x, other))
        head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, y.ravel())
        scores.append(head.score(others, labels.ravel()))
    assert scores[0] > 0.85 and scores[0] > scores[1] + 0.3


def test_stages_of_efficientnet():
    settings = Settings("efficientnet", pretrained=False, side=32)
    model = models.build(settings, 3)
    backbone = model.get_layer("backbone")
    head, fine = models.stages(Settings("efficientnet", side=32))
    models.prepare(model, head, 1)
    assert len(model.trainable_weights) == 2
    models.prepare(model, fine, 1)
    learning = [layer for layer in backbone.layers if layer.trainable and layer.weights]
    assert {layer.name[:6] for layer in learning} == {"block6", "block7", "top_co"}
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in learning)
    picture = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    logits = np.array(model(picture))
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(models.deployable(model)(picture), wanted, atol=1e-5)


@pytest.fixture(scope="module")
def lite0():
    """A classifier with the weights of Lite0 where they are. What a test changes of it no other looks at."""
    return models.build(Settings("lite0", pretrained.available("efficientnet_lite0"), side=32), 3)


def test_stages_of_lite0(lite0):
    model = lite0
    head, fine = models.stages(Settings("lite0", side=32))
    models.prepare(model, head, 1)
    assert len(model.trainable_weights) == 2
    models.prepare(model, fine, 1)
    learning = {
        layer.name for layer in model.get_layer("backbone").layers if layer.trainable and layer.weights
    }
    assert learning == {
        *(f"block{k}_{part}" for k in range(11, 16) for part in ("expand", "depthwise", "project")),
        "head",
    }


def test_lite0_takes_the_weights_and_the_pixels_as_they_are(lite0):
    nbval_needs.need("efficientnet_lite0")
    ours = lite0.get_layer("backbone")
    picture = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    wanted = pretrained.efficientnet_lite0(include_top=False, input_shape=(32, 32, 3))(picture)
    np.testing.assert_array_equal(ours(picture), wanted)


def test_lite0_without_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_STUDY_CACHE", str(tmp_path))
    monkeypatch.delenv("TF_STUDY_DATA", raising=False)
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    with pytest.raises(StudyError, match="python main.py models efficientnet_lite0를 실행하세요"):
        models.build(Settings("lite0", side=32), 3)


def test_settings(monkeypatch):
    assert default() == Settings("small") and default("efficientnet").side == 224
    assert default("lite0").side == 96
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert default().backbone == "efficientnet"
    for wrong in ({"backbone": "x"}, {"side": 8}, {"batch": 0}, {"epochs": (0, 1)}):
        with pytest.raises(StudyError):
            Settings(**wrong)
