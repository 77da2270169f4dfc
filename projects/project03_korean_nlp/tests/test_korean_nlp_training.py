"""Training: three topics are learnt, a kill loses nothing, and one training is not mixed with another."""

import json
import os

import numpy as np
import pytest

from forked import HOW, train_until_killed
from korean_nlp import models, records, settings, storage, training
from korean_nlp.__main__ import main
from tf_study import model_folder, workers
from tf_study.errors import StudyError


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_three_topics_are_learnt(trained, items):
    card = storage.read_card(trained)
    assert {path.name for path in trained.iterdir()} >= {*storage.FILES, model_folder.CARD}
    assert not (trained / model_folder.STATE).exists()
    assert card["classes"] == ["경제", "날씨", "스포츠"] and card["data"]["tagger"]["name"] == "kiwi"
    assert sum(map(sum, card["data"]["sizes"].values())) == card["data"]["records"] == 240
    rows, texts = ([item[name] for item in items["test"]] for name in ("morphemes", "text"))
    labels = np.array([card["classes"].index(item["label"]) for item in items["test"]])
    for kind in storage.KINDS:
        answers = storage.load(trained, card, kind).probabilities(texts, rows)
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
        assert (answers.argmax(axis=1) == labels).mean() > 0.9  # guessing gives 0.33
    for kind in models.NETWORKS:
        assert len(card["history"][kind]) <= 3 and set(card["history"][kind][0]) >= {"loss", "val_loss"}
    best = max(card["models"].values(), key=lambda found: found["validation"]["macro_f1"])
    assert card["models"][card["best"]] == best


def test_the_vocabulary_counts_by_topic(trained, items):
    found = json.loads((trained / storage.VOCABULARY).read_text(encoding="utf-8"))
    counts = dict(zip(found["words"], found["counts"], strict=True))
    assert counts["금리/NNG"][0] > 5 and counts["금리/NNG"][1:] == [0, 0]
    sums = [sum(row) for row in found["counts"]]
    assert sums == sorted(sums, reverse=True) and sum(sums) < sum(
        len(item["morphemes"]) for item in items["train"]
    )


@pytest.fixture(scope="module")
def few(items, save_records, tmp_path_factory):
    """A folder of 60 texts, of which two networks learn something in moments."""
    return save_records(tmp_path_factory.mktemp("적은 글") / "글", items["train"][:60])


def test_killed_and_resumed_is_as_if_never_killed(few, tmp_path, capsys, eager):
    """Killed in the second network, when the first is finished."""
    whole, output = tmp_path / "온전", tmp_path / "모델"
    options = ["--epochs", "2", "--batch", "32", "--rate", "0.01", "--validation", "0.25"]
    assert main(["train", str(few), "--output", str(whole), *options]) == 0
    command = ["train", str(few), "--output", str(output), *options]
    killed = {"package": "korean_nlp", "method": "_Run._save", "last": lambda run: run.kind == "lstm"}
    with pytest.raises(StudyError, match="신호 9로"):
        workers.run(train_until_killed, 1, **HOW, **killed, arguments=command)
    histories = model_folder.read_about(output / model_folder.STATE)["histories"]
    assert {kind: len(history) for kind, history in histories.items()} == {"cnn": 2, "lstm": 1}
    assert main(["predict", str(output)]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err
    assert main([*command, "--seed", "1"]) == 1
    assert "다른 설정으로 하던 학습이 있으니" in capsys.readouterr().err
    first = (output / "cnn.npz").read_bytes()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "마친 것: CNN 2에포크, Bi-LSTM 1에포크" in out and "[CNN]" not in out
    assert (output / "cnn.npz").read_bytes() == first
    assert (output / storage.VOCABULARY).read_bytes() == (whole / storage.VOCABULARY).read_bytes()
    # Sums of float32 are rounded otherwise in another process, where arrays are aligned otherwise. What is forgotten
    # shows far above it: without the optimizer's state the weights differ by the learning rate, 0.01.
    for kind in storage.KINDS:
        wanted, resumed = arrays(whole / f"{kind}.npz"), arrays(output / f"{kind}.npz")
        assert set(wanted) == set(resumed)
        for key, value in wanted.items():
            np.testing.assert_allclose(resumed[key], value, rtol=0, atol=1e-3, err_msg=f"{kind} {key}")
    one, other = storage.read_card(whole), storage.read_card(output)
    for kind in models.NETWORKS:
        pairs = zip(one["history"][kind], other["history"][kind], strict=True)
        assert all(mine == pytest.approx(theirs, abs=1e-3) for mine, theirs in pairs)
    for kind in storage.KINDS:
        assert other["models"][kind]["threshold"] == pytest.approx(one["models"][kind]["threshold"], abs=1e-3)


def test_a_finished_model_and_one_of_other_data_are_kept(prepared, arguments, trained, capsys, tmp_path):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    command = ["train", str(prepared["train"]), "--output", str(trained), *arguments]
    assert main(command) == 1 and "학습을 마친 모델이 있으니" in capsys.readouterr().err
    command[1] = str(tmp_path / "없음")
    assert main([*command, "--restart"]) == 1 and "prepare를 마친 글이 없으니" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in trained.iterdir()}


def test_damage_is_said(trained, tmp_path, capsys):
    for name in (model_folder.CARD, *storage.FILES):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    card = storage.read_card(tmp_path)
    for name, kind in (("cnn.npz", "cnn"), ("baseline.npz", "baseline"), (storage.VOCABULARY, "lstm")):
        os.truncate(tmp_path / name, 100)
        with pytest.raises(StudyError, match="저장한 때와 다르니"):
            storage.load(tmp_path, card, kind)
    training.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_given_up_for_data_that_cannot_be_learnt_from(
    items, save_records, trained, tmp_path, capsys
):
    folder = save_records(tmp_path / "글", items["test"])
    shard = records.paths(folder, records.read_manifest(folder))[0]
    os.truncate(shard, shard.stat().st_size - 1)
    output = tmp_path / "모델"
    output.mkdir()
    (output / model_folder.CARD).write_text("{}")
    assert main(["train", str(folder), "--output", str(output), "--restart"]) == 1
    assert "저장한 때와 다르니" in capsys.readouterr().err and (output / model_folder.CARD).exists()
    alike = save_records(tmp_path / "하나", [item | {"label": "하나"} for item in items["test"]])
    assert main(["train", str(alike), "--output", str(output), "--restart"]) == 1
    assert "주제가 1개뿐이니" in capsys.readouterr().err and (output / model_folder.CARD).exists()


def test_a_loss_that_is_no_number(few, tmp_path, eager):
    wild = settings.Settings(rate=1e30, epochs=2, batch=16)
    with pytest.raises(StudyError, match="손실이 수가 아니게 되었으니 --rate를 줄이고"):
        training.train(few, tmp_path, wild, report=[].append)
    assert not (tmp_path / model_folder.CARD).exists()


@pytest.mark.parametrize(
    ("losses", "done"),
    [
        ([], False),
        ([3, 2, 1], False),
        ([1, 2, 2], True),
        ([1, 2], False),
        ([3, 2, 1, 0], True),
        ([2, 2, 2], True),
    ],
)
def test_early_stopping(losses, done):
    history = [{"val_loss": loss} for loss in losses]
    assert training.over(history, epochs=4, patience=2) is done


def test_the_threshold_lets_the_share_through():
    random = np.random.default_rng(0)
    for count in (1, 7, 10, 100):
        highest = random.uniform(0.5, 1, count)
        answers = np.stack([highest, 1 - highest], axis=1)
        for coverage in (0.01, 0.3, 0.9, 1.0):
            found = training.threshold(answers, coverage)
            assert (highest >= found).mean() >= coverage
            assert (highest > found).mean() < coverage  # A larger one would not.


def test_a_state_of_other_texts_is_not_gone_on_from(prepared, tmp_path):
    about = {"settings": settings.Settings().as_json(), "fingerprint": "", "histories": {}}
    model_folder.write_npz(tmp_path / model_folder.STATE, [], about=json.dumps(about))
    with pytest.raises(StudyError, match="prepare한 글이 중단한 때와 다르니"):
        training.train(prepared["train"], tmp_path, settings.Settings(), report=[].append)
