"""Training: what each stage may change, how it stops, and that nothing is lost when it is killed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sentiment_analysis_apart import HOW

from forked import train_until_killed
from project_commands import kept_before_writes
from sentiment_analysis import dataset, pretraining, storage, tokens, training
from sentiment_analysis.__main__ import main
from sentiment_analysis.encoders import Description, Network
from sentiment_analysis.settings import Settings, default
from tf_study import model_folder, workers
from tf_study.checks.eager import eagerly
from tf_study.errors import StudyError

FINISHED = {"model.json", "tokenizer.json", "weights.npz"}
TINY = Settings(labels=40, tokens=16, batch=16, epochs=(1, 2), pretraining=0, patience=5)
OPTIONS = ["--data", "embedded", "--labels", "40", "--tokens", "16", "--batch", "16", "--epochs", "1", "2"]
OPTIONS += ["--pretraining", "0", "--patience", "5"]  # the same on the command line


@pytest.fixture(scope="module")
def parts():
    return dataset.read("embedded", TINY.labels, TINY.seed)


@pytest.fixture(scope="module")
def train(parts):
    return lambda output, chosen=TINY: training.train(parts, "embedded", output, chosen, report=[].append)


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The folder and the card of a training of :data:`TINY`, and the folder as it was just before it had the card."""
    folder, before = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("before")
    with eagerly(), kept_before_writes(folder, before):
        card = train(folder)
    return folder, card, before / model_folder.CARD


def arrays(folder):
    with np.load(folder / "weights.npz") as file:
        return [file[f"w{number}"] for number in range(len(file.files))]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_reviews_are_learnt(trained):
    card = storage.read_card(trained)
    assert {path.name for path in trained.iterdir()} == FINISHED
    assert card["classes"] == ["부정", "긍정"] and card["encoder"]["limit"] == 48
    assert [entry["stage"] for entry in card["history"]] == [0, 1, 1, 1]
    assert card["best"]["val_loss"] == min(entry["val_loss"] for entry in card["history"])
    assert card["best"]["val_accuracy"] > 0.65  # of 84 reviews; guessing gives 0.5 ± 0.05
    assert dataset.of_card(card).fingerprint() == card["fingerprint"]


def test_killed_and_resumed_is_as_if_never_killed(whole, tmp_path, capsys, eager):
    output = tmp_path / "모델"
    command = ["train", "--output", str(output), *OPTIONS]
    killed = {"package": "sentiment_analysis", "method": "Training.save", "last": lambda run: run.stage == 1}
    with pytest.raises(StudyError, match="신호 9로"):
        workers.run(train_until_killed, 1, **HOW, **killed, arguments=command)
    state = model_folder.read_about(output / "state.npz")
    assert len(state["history"]) == 2 and (output / pretraining.FILE).exists()
    assert main(["predict", str(output), "글"]) == 1
    assert "학습이 끝나지 않았으니" in capsys.readouterr().err

    assert main(command) == 0
    told = capsys.readouterr().out
    assert "마친 에포크: 2" in told and "[머리]" not in told and "[미세 조정] 1/2" not in told
    assert {path.name for path in output.iterdir()} == FINISHED
    assert storage.read_card(output)["history"] == whole[1]["history"] and same(output, whole[0])


def test_stopped_in_the_middle_of_the_last_write(train, whole, eager):
    """Nothing is left to learn, and no card without the rest."""
    folder, card, before = whole
    assert model_folder.CARD not in {path.name for path in before.iterdir()} > FINISHED - {model_folder.CARD}
    assert train(before)["history"] == card["history"] and same(before, folder)
    assert {path.name for path in before.iterdir()} == FINISHED


def test_an_interrupted_run_is_not_mixed_with_another(parts, tmp_path, trained, training_options, capsys):
    about = {"settings": TINY.as_json(), "fingerprint": "another", "history": []}
    model_folder.write_npz(tmp_path / "state.npz", [], about=np.array(json.dumps(about)))
    for options, sentence in (
        ([*OPTIONS, "--seed", "1"], "다른 설정으로 하던 학습이 있으니"),
        (OPTIONS, "리뷰가 중단한 때와 다르니"),
    ):
        assert main(["train", "--output", str(tmp_path), *options]) == 1
        assert sentence in capsys.readouterr().err
    assert main(["train", "--output", str(trained), *training_options]) == 1
    assert "학습을 마친 모델이 있으니" in capsys.readouterr().err
    (tmp_path / "state.npz").write_bytes(b"no archive")
    assert main(["train", "--output", str(tmp_path), *OPTIONS]) == 1
    assert "깨졌으니 --restart로" in capsys.readouterr().err
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0}')
    training.clear(tmp_path)
    assert not list(tmp_path.iterdir())  # A temperature is of one training only.


def test_a_state_that_lacks_weights_is_said(parts, train, tmp_path, eager):
    about = {"settings": TINY.as_json(), "fingerprint": parts.fingerprint()}
    about["history"] = [{"stage": 0, "epoch": 1, "loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}]
    model_folder.write_npz(tmp_path / "state.npz", [np.zeros(2)], about=np.array(json.dumps(about)))
    with pytest.raises(StudyError, match="state.npz.*깨졌으니 --restart로"):
        train(tmp_path)


@pytest.mark.parametrize(
    "losses, over",
    [([], False), ([3, 2, 1], False), ([1, 2, 2], True), ([1, 2], False), ([3, 2, 1, 0], True)],
)
def test_early_stopping(losses, over):
    history = [{"stage": 0, "val_loss": 0.5}]  # another stage's epochs do not count
    history += [{"stage": 1, "val_loss": loss} for loss in losses]
    assert training.over(history, 1, epochs=4, patience=2) is over


@pytest.fixture
def network():
    """A network of three blocks with random weights."""
    config = {
        "vocab_size": 50, "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 20, "max_position_embeddings": 16,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    network = Network(Description("bert", config, first=2, last=3, pad=0, limit=16))
    random = np.random.default_rng(0)
    for variable in network.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    return network


def some_rows(count=20):
    random = np.random.default_rng(1)
    return [np.array([2, *random.integers(5, 50, random.integers(1, 12)), 3], np.int32) for _ in range(count)]


def test_the_network_is_transformers_model(network):
    ids = tokens.padded(some_rows(), 0)
    mask = (ids != 0).astype(int)
    wanted = network._encoder(ids, attention_mask=mask).last_hidden_state.numpy()
    ours = network.hidden(ids).numpy()
    np.testing.assert_allclose(ours[mask > 0], wanted[mask > 0], atol=1e-5)
    pooled = (wanted * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    logits = pooled @ network.kernel.numpy() + network.bias.numpy()
    np.testing.assert_allclose(network(ids), logits, atol=1e-5)
    wider = np.pad(ids, ((0, 0), (0, 2)))
    np.testing.assert_allclose(network(wider), logits, atol=1e-5)  # Padding changes nothing.


@pytest.mark.parametrize("blocks, whole", [(0, False), (1, False), (2, False), (3, True), (9, True)])
def test_what_is_kept_gives_the_same_logits(network, blocks, whole, eager):
    rows = some_rows()
    kept = training.Kept(network, rows, np.zeros(20, int), replace(TINY, blocks=blocks))
    wanted = network(tokens.padded(rows, 0)).numpy()
    np.testing.assert_allclose(network.head(kept.pooled), wanted, atol=1e-5)
    chunk = np.array([7, 3, 11])
    given, mask = kept.batch(chunk)
    assert kept.whole == whole and mask.sum(1).tolist() == [len(rows[row]) for row in chunk]
    if whole:
        given = network.lower(network.embed(given), mask, blocks)
    np.testing.assert_allclose(network.head(network.upper(given, mask, blocks)), wanted[chunk], atol=1e-5)


@pytest.mark.parametrize("blocks", [1, 3])
def test_stages_change_what_they_may(network, parts, tmp_path, blocks, eager):
    (tmp_path / "tokenizer.json").write_bytes(
        pretraining.learn_pieces(parts.train.texts[:5]).to_str().encode()
    )
    rows = some_rows(60)
    chosen = replace(TINY, blocks=blocks, tokens=16)
    short = replace(parts, train=parts.train.take(range(30)), validation=parts.validation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens.Outside, "encode", lambda self, texts: rows[: len(texts)])
        run = training.Training(short, network, chosen, tmp_path)
    before = [variable.numpy() for variable in network.weights]

    def changed():
        return {
            variable.ref() for variable, old in zip(network.weights, before, strict=True)
            if not np.array_equal(variable, old)
        }  # fmt: skip

    run.prepare(0)
    run.epoch()
    assert changed() == {network.kernel.ref(), network.bias.ref()}
    run.prepare(1)
    run.epoch()
    learning = {variable.ref() for variable in network.learning(blocks)}
    # A key's bias shifts all scores of a query alike; token types and far positions are never seen.
    idle = {v.ref() for v in network.weights if "key/bias" in v.name}
    assert changed() - idle == learning - idle
    assert (len(learning) == len(network.weights)) == (blocks == 3)


def test_epochs_take_every_review_once_in_another_order(network, parts, tmp_path, eager):
    run = object.__new__(training.Training)
    run.chosen, run.known = replace(TINY, batch=4), training.Kept(network, some_rows(50), np.zeros(50), TINY)
    first, again, second = (list(run._shuffled(number)) for number in (0, 0, 1))
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(50))
    assert all(map(np.array_equal, first, again)) and not all(map(np.array_equal, first, second))
    spread = [np.ptp(run.known.lengths[chunk]) for chunk in first]
    assert np.mean(spread) < 3 < np.ptp(run.known.lengths)  # About as long, so that little is padding.


def test_a_loss_that_is_no_number_is_said(train, tmp_path, eager):
    with pytest.raises(StudyError, match="손실이 수가 아니게 되었으니 --rates를 줄이고"):
        train(tmp_path, replace(TINY, rates=(1e30, 1e30), epochs=(3, 1)))


def test_hidden_tokens():
    ids = np.tile(np.r_[2, np.arange(5, 45), 3, 0, 0], (500, 1))
    hidden, chosen = pretraining.mask_tokens(ids, 1000, np.random.default_rng(0))
    assert not chosen[:, [0, 41, 42, 43]].any() and np.array_equal(hidden[~chosen], ids[~chosen])
    shares = [np.mean(hidden[chosen] == 4), np.mean((hidden != ids)[chosen]), np.mean(chosen[:, 1:41])]
    np.testing.assert_allclose(shares, [0.8, 0.9, 0.4], atol=0.02)


def test_pretraining_lowers_the_loss_and_pieces_stay_the_same(parts, tmp_path):
    texts = parts.train.texts
    assert pretraining.learn_pieces(texts).to_str() == pretraining.learn_pieces(texts).to_str()
    told = []
    start = pretraining.load(replace(TINY, pretraining=60), texts, tmp_path, told.append)
    first, last = map(float, told[-1].split("손실 ")[1].split(" → "))
    assert last < first - 0.05
    again = pretraining.load(replace(TINY, pretraining=60), texts, tmp_path, told.append)
    pairs = zip(start.network.weights, again.network.weights, strict=True)
    assert len(told) == 2 and all(np.array_equal(a, b) for a, b in pairs)


def test_rates_go_up_and_down():
    rates = [pretraining.rate(step, 40, 2.0) for step in range(40)]
    assert max(rates) == 2.0 and rates.index(2.0) in (3, 4) and 0 < rates[-1] < 0.1 and rates[0] == 0.5
    assert pretraining.rate(0, 1, 2.0) == 2.0


def test_settings(monkeypatch):
    assert default() == Settings() and default("e5-small").blocks == 4
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert default().encoder == "koelectra-small"
    assert json.loads(json.dumps(Settings().as_json())) == Settings().as_json()
    for wrong in (
        {"encoder": "x"}, {"tokens": 4}, {"batch": 0}, {"epochs": (0, 1)}, {"rates": (1e-3, 0.0)},
        {"rates": (float("nan"), 1.0)}, {"labels": -1}, {"seed": -1}, {"patience": 0},
    ):  # fmt: skip
        with pytest.raises(StudyError):
            Settings(**wrong)
