"""The three formats answer alike, and what is missing or damaged is said."""

import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from image_classifier import dataset, evaluation, export, prediction, storage
from tf_study.errors import StudyError


@pytest.fixture(scope="module")
def predictors(trained):
    return {name: prediction.load_predictor(trained, name) for name in storage.FILES}


@pytest.fixture(scope="module")
def folder(pictures):
    return dataset.scan(pictures, 32)


def test_formats_agree(predictors, folder):
    rows = {name: predictor.predict(folder.pictures) for name, predictor in predictors.items()}
    for probabilities in rows.values():
        assert probabilities.shape == (60, 3) and probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert (probabilities.argmax(axis=1) == folder.labels).mean() > 0.8  # guessing gives 0.33
    assert np.abs(rows["keras"] - rows["tflite"]).max() < 1e-4
    assert np.abs(rows["keras"] - rows["int8"]).max() < 0.2
    assert (rows["keras"].argmax(axis=1) == rows["int8"].argmax(axis=1)).mean() > 0.9


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter")
def test_int8_is_whole_numbers_throughout_and_small(trained):
    content = (trained / "model_int8.tflite").read_bytes()
    interpreter = tf.lite.Interpreter(model_content=content)
    kinds = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    assert kinds <= {"int8", "uint8", "int32", "int64"}
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    assert len(content) < 0.5 * (trained / "model.tflite").stat().st_size


@pytest.mark.parametrize("name", storage.FILES)
def test_batches_sizes_and_threads_make_no_difference(predictors, folder, name):
    predictor = predictors[name]
    together = predictor.predict(folder.pictures[:35])
    alone = np.concatenate([predictor.predict(folder.pictures[k : k + 1]) for k in range(35)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert predictor.predict([]).shape == (0, 3)
    results = {}
    threads = [
        threading.Thread(
            target=lambda k=k: results.update({k: predictor.predict(folder.pictures[k : k + 5])})
        )
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, probabilities in results.items():
        np.testing.assert_allclose(probabilities, together[k : k + 5], atol=1e-5)


def test_pictures_of_any_size_and_the_likeliest_classes(predictors):
    big = np.full((90, 200, 3), (200, 60, 60), np.uint8)
    row = predictors["tflite"].predict([big, big[:50]])[0]
    top = predictors["tflite"].top(row, 2)
    assert top[0] == ("빨강", pytest.approx(row.max())) and len(top) == 2 and top[0][1] >= top[1][1]
    assert len(predictors["tflite"].top(row, 99)) == 3


def test_export_into_another_folder(trained, predictors, folder, tmp_path):
    card = export.export(trained, tmp_path, ["int8"])
    names = {"model_int8.tflite", "calibration.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"model.json"}
    assert card["files"].keys() == names
    again = prediction.load_predictor(tmp_path, "int8").predict(folder.pictures)
    np.testing.assert_allclose(again, predictors["int8"].predict(folder.pictures), atol=1e-5)
    with pytest.raises(StudyError, match="model.tflite.*export를 실행하거나"):
        prediction.load_predictor(tmp_path)


def test_missing_and_damaged_models(trained, tmp_path):
    def says(part, name="tflite"):
        with pytest.raises(StudyError, match=part):
            prediction.load_predictor(copy, name)

    copy = tmp_path / "모델"
    says("모델 폴더 .*없으니")
    copy.mkdir()
    says("모델이 없으니 train을 먼저")
    shutil.copytree(trained, copy, dirs_exist_ok=True)
    for name in ("model.tflite", "model.keras"):
        (copy / name).write_bytes((copy / name).read_bytes()[:-100])
    says("model.tflite.*저장한 때와 다르니")
    says("model.keras.*저장한 때와 다르니", "keras")
    (copy / "model_int8.tflite").unlink()
    says("model_int8.tflite.*없으니", "int8")
    (copy / "model.json").write_text('{"classes": []}', encoding="utf-8")
    says("내용이 깨졌으니")
    (copy / "model.json").write_text("[1", encoding="utf-8")
    says("읽을 수 없으니")


def test_compare_measures_each_format(predictors, folder):
    rows = evaluation.compare(predictors, folder)
    assert list(rows) == ["keras", "tflite", "int8"]
    assert rows["keras"]["agreement"] == 1 and rows["tflite"]["agreement"] > 0.95
    assert all(row["latency"] > 0 for row in rows.values())


def test_the_training_folder_may_have_gone(trained, tmp_path):
    card = storage.read_card(trained) | {"data": str(tmp_path / "옛 사진")}
    with pytest.raises(StudyError, match="옛 사진.*평가할 폴더를 모델폴더 뒤에 주세요"):
        evaluation.test_part(card)


def test_worst_mistakes_are_the_surest(folder):
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.05, 0.95, 0]])
    result = evaluation.Result(probabilities, np.zeros((3, 3)), {}, "")
    assert evaluation.worst(result, np.array([0, 1, 0, 2]), 5).tolist() == [3, 2, 1]
    assert evaluation.worst(result, np.array([0, 1, 0, 2]), 1).tolist() == [3]


def test_bytes_from_a_browser(predictors, encode):
    from image_classifier import images

    content = encode(Image.new("L", (64, 48), 100), "JPEG")
    assert predictors["tflite"].predict([images.read(content)]).shape == (1, 3)
