"""What is exported takes strings, answers as the network does, stands alone, and says when it is damaged."""

import shutil
import sys
import threading
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from sentiment_analysis_apart import HOW, answer
from tensorflow.core.framework.tensor_pb2 import TensorProto

from sentiment_analysis import dataset, export, model, storage, tokens
from sentiment_analysis.settings import FORMS
from tf_study import workers
from tf_study.errors import StudyError

ODD = ["", "   ", "ㅋㅋ😀", "中国어 100%", "가" * 3000, "a b\tc\nd", "‘따옴표’…", "뷁뙑"]


@pytest.fixture(scope="module")
def loaded(exported, served, int8):
    """The model in each form."""
    return {"saved_model": served, "float16": model.load(exported, "float16"), "int8": int8}


@pytest.fixture(scope="module")
def network(exported):
    return export.load(exported, storage.read_card(exported))


@pytest.fixture(scope="module")
def texts():
    return dataset.read("embedded").test.texts + ODD


def test_strings_inside_give_the_tokens_and_logits_of_hugging_face(exported, loaded, network, texts):
    rows = tokens.Outside(exported, network.about).encode(texts)
    served = loaded["saved_model"]
    found = served._tokens(model._encoded(texts))
    for row, ids, length in zip(rows, found["ids"], found["lengths"], strict=True):
        assert ids[:length].tolist() == row.tolist() and not ids[length:].any()
    assert served.lengths(texts).max() == served.limit == 48
    assert served.lengths(texts).tolist() == [len(row) for row in rows]
    wanted = network(tokens.padded(rows, network.about.pad)).numpy()
    np.testing.assert_allclose(served.logits(texts), wanted, atol=1e-4)


def test_a_long_word_is_cut_as_hugging_face_cuts_it(exported, network):
    """TensorFlow Text gives up at 100 bytes unless told otherwise; 34 syllables are 102."""
    word = "영화재미있었어요정말좋아요" * 3
    (row,) = tokens.Outside(exported, network.about).encode([word])
    inside = tokens.Inside(exported, network.about)
    assert inside([word])["ids"][0].numpy().tolist() == row.tolist() and 1 not in row


def test_forms_agree(loaded, texts):
    logits = {form: found.logits(texts) for form, found in loaded.items()}
    spread = np.ptp(logits["saved_model"])
    assert np.abs(logits["float16"] - logits["saved_model"]).max() < 0.01 * spread
    agreement = np.mean(logits["int8"].argmax(1) == logits["saved_model"].argmax(1))
    assert agreement > 0.97 and np.abs(logits["int8"] - logits["saved_model"]).max() < 0.1 * spread


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_does_not_depend_on_its_neighbours(loaded, texts, form):
    some = texts[-12:] + texts[:70]  # more than one batch
    together = loaded[form].logits(some)
    alone = np.concatenate([loaded[form].logits([text]) for text in some])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert loaded[form].logits([]).shape == (0, 2) and loaded[form].probabilities([]).shape == (0, 2)


def test_threads_do_not_disturb_each_other(loaded, texts):
    wanted = loaded["int8"].logits(texts[:24])
    answers = [None] * 24

    def ask(number):
        answers[number] = loaded["int8"].logits([texts[number]])[0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(answers, wanted, atol=1e-5)


def test_a_temperature_softens_and_changes_no_answer(exported, loaded, tmp_path, texts):
    folder = tmp_path / "모델"
    shutil.copytree(exported, folder)
    (folder / "calibration.json").write_text('{"temperature": 4.0}', encoding="utf-8")
    soft, logits = model.load(folder, "int8"), loaded["int8"].logits(texts)
    assert soft.temperature == 4.0
    np.testing.assert_allclose(soft.logits(texts), logits)
    powers = np.exp(logits / 4)
    np.testing.assert_allclose(soft.probabilities(texts), powers / powers.sum(1, keepdims=True), atol=1e-5)
    for wrong in ("{", '{"temperature": 0}', '{"temperature": "x"}', "[]"):
        (folder / "calibration.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(StudyError, match="calibration.json의 내용이 깨졌으니 evaluate를"):
            model.load(folder, "int8")


def test_pieces_are_where_the_tokens_come_from(loaded):
    for form in ("saved_model", "int8"):
        text = "  정말 재미있는 영화!"
        spans = loaded[form].pieces(text)
        assert len(spans) == loaded[form].lengths([text])[0] and spans[0] == spans[-1] == (0, 0)
        assert "".join(text[first:last] for first, last in spans) == "정말재미있는영화!"
        assert all(first < last for first, last in spans[1:-1])
        apart = unicodedata.normalize("NFD", text)
        found = loaded[form].pieces(apart)
        assert [unicodedata.normalize("NFC", apart[a:b]) for a, b in found] == [text[a:b] for a, b in spans]
    assert loaded["int8"].pieces("") == [(0, 0), (0, 0)]
    assert loaded["int8"].pieces("\ud800 영화")[0] == (0, 0)  # half a character


def test_texts_taken_apart_are_put_together(loaded, texts):
    apart = [unicodedata.normalize("NFD", text) for text in texts]
    assert apart != texts
    for found in loaded.values():
        np.testing.assert_allclose(found.logits(apart), found.logits(texts), atol=1e-5)


def test_slopes_are_derivatives_and_add_up(loaded, texts):
    found, text = loaded["saved_model"], texts[3]
    length = found.lengths([text])[0]
    margins, terms = found.slopes(text, np.array([0.0, 0.499, 0.5, 0.501, 1.0]))
    assert margins.shape == (5,) and terms.shape == (5, length)
    assert margins[4] == pytest.approx(np.diff(found.logits([text])[0])[0], abs=1e-4)
    assert terms[2].sum() == pytest.approx((margins[3] - margins[1]) / 0.002, rel=0.05, abs=0.02)
    assert not terms[:, [0, -1]].any()  # Special tokens stay as they are.
    points = (np.arange(40) + 0.5) / 40  # more than are computed together
    _, terms = found.slopes(text, points)
    assert terms.shape == (40, length)
    assert terms.mean(0).sum() == pytest.approx(margins[4] - margins[0], rel=0.05, abs=0.01)
    with pytest.raises(StudyError, match="기울기를 낼 수 없으니 saved_model을"):
        loaded["int8"].slopes(text, points)


def test_it_loads_without_transformers(exported, tmp_path):
    forms, complaints = ["saved_model", "int8"], tmp_path / "불평.txt"
    how = {"folder": str(exported), "forms": forms, "text": "정말 재미있어요", "complaints": str(complaints)}
    (((served, whole), known),) = workers.run(answer, 1, **HOW, **how)
    assert known == [] and complaints.read_text(encoding="utf-8") == ""
    np.testing.assert_allclose(served, whole, atol=0.5)


def test_without_tensorflow_text_the_other_tokenizer_serves(exported, loaded, texts, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    plain = model.load(exported, "int8")
    np.testing.assert_allclose(plain.logits(texts), loaded["int8"].logits(texts), atol=1e-5)
    texts = texts[: -len(ODD)]  # Of a word of 3,000 syllables the other one names the first alone.
    assert [plain.pieces(text) for text in texts] == [loaded["int8"].pieces(text) for text in texts]
    with pytest.raises(StudyError, match="tensorflow-text 패키지가 없어.*--form int8을"):
        model.load(exported)


def test_what_is_damaged_or_missing_is_said(trained, exported, tmp_path):
    with pytest.raises(StudyError, match="int8 형식이 없으니 export를 먼저"):
        model.load(trained, "int8")
    with pytest.raises(StudyError, match="'onnx' 형식은 없으니"):
        model.load(exported, "onnx")
    with pytest.raises(StudyError, match="모델 폴더.*없으니"):
        model.load(tmp_path / "없음")
    folder = tmp_path / "모델"
    shutil.copytree(exported, folder)
    for name, form in (
        ("saved_model/saved_model.pb", "saved_model"),
        ("saved_model/variables/variables.data-00000-of-00001", "saved_model"),
        ("int8.tflite", "int8"),
        ("tokenizer/saved_model.pb", "float16"),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(StudyError, match="저장한 때와 다르니 export를 다시"):
            model.load(folder, form)
        (folder / name).unlink()
        with pytest.raises(StudyError, match="없거나 저장한 때와 다르니 export를 다시"):
            model.load(folder, form)
    (folder / "weights.npz").write_bytes(b"")
    with pytest.raises(StudyError, match="weights.npz.*--restart로"):
        export.load(folder, storage.read_card(folder))
    for card in ("{", "[]", '{"classes": ["부정"]}'):
        (folder / "model.json").write_text(card, encoding="utf-8")
        with pytest.raises(StudyError, match="model.json의 내용이 깨졌으니"):
            model.load(folder)


def fields(message):
    """The numbers and contents of a message, read by protobuf itself."""
    found = UnknownFieldSet(Empty.FromString(message))
    return [(field.field_number, field.data) for field in found]


def test_requests_that_warm_up_tensorflow_serving(exported, loaded):
    path = exported / "saved_model" / export.WARM
    sizes = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        ((number, log),) = fields(record)
        ((first, request),) = fields(log)
        (spec, named), (inputs, entry) = fields(request)
        assert (number, first, spec, inputs) == (6, 1, 1, 2)
        assert fields(named)[1] == (3, b"serving_default")
        (_, key), (_, value) = fields(entry)
        texts = tf.make_ndarray(TensorProto.FromString(value))
        assert key == b"texts" and np.isfinite(loaded["saved_model"]._logits(texts.tolist())).all()
        sizes.append(len(texts))
    assert sizes == list(export.WARM_SIZES)


def test_an_interrupted_export_is_noticed(exported, tmp_path):
    folder = tmp_path / "모델"
    shutil.copytree(exported, folder)

    def fail(path):
        path.mkdir()
        raise OSError("디스크가 찼습니다")

    with pytest.raises(StudyError, match="쓸 수 없으니 권한과 남은 공간을"):
        export._replace(folder / "saved_model", fail)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in exported.iterdir())
    name = "saved_model/saved_model.pb"
    assert (folder / name).read_bytes() == (exported / name).read_bytes()  # the old one


def test_the_table_compares_the_forms(exported, loaded, monkeypatch):
    monkeypatch.setattr(model, "load", lambda folder, form: loaded[form])
    reviews = dataset.read("embedded").test.take(range(20))
    head, names, *rows = export.table(exported, list(FORMS), reviews).splitlines()
    assert "리뷰 20개" in head and names.split()[:2] == ["형식", "크기"]
    cells = [row.split() for row in rows]
    assert [row[0] for row in cells] == list(FORMS) and cells[0][3] == "1.000"
    assert float(cells[2][1]) < float(cells[1][1]) < float(cells[0][1])  # int8 < float16 < all
