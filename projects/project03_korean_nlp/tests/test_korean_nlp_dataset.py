"""Batches: each record once, in the right part, padded behind, in an order that the seed alone decides."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from korean_nlp import dataset, records
from korean_nlp.dataset import PAD, UNKNOWN, Vocabulary
from korean_nlp.settings import Settings, choose
from tf_study.errors import StudyError

SETTINGS = Settings(batch=16, validation=0.25)
TOPICS = ("가", "나")


def made(count, topics=TOPICS, longest=40):
    """Records of 0 to ``longest`` morphemes, each of which names its record."""
    random = np.random.default_rng(0)
    return [
        {"id": f"줄:{n}", "text": f"글 {n}", "date": "", "label": topics[n % len(topics)],
         "morphemes": [f"{n}-{place}/X" for place in range(random.integers(0, longest + 1))]}
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def files(save_records, tmp_path_factory):
    folder = save_records(tmp_path_factory.mktemp("묶음"), made(300), shards=5)
    return records.paths(folder, records.read_manifest(folder))


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(tuple(sorted({word for item in made(300) for word in item["morphemes"]})))


def as_pairs(rows, labels):
    """Rows of numbers with their labels, that can be counted."""
    return Counter((tuple(row), int(label)) for row, label in zip(rows, labels, strict=True))


def wanted(vocabulary, held_out, limit=64):
    ids = np.array([item["id"] for item in made(300)])
    mask = dataset.is_held_out(ids, SETTINGS).numpy() == held_out
    numbers, mine = vocabulary.numbers(), [item for item, kept in zip(made(300), mask, strict=True) if kept]
    rows = ([numbers[word] for word in item["morphemes"][:limit]] for item in mine)
    return as_pairs(rows, [TOPICS.index(item["label"]) for item in mine])


@pytest.fixture(scope="module")
def encoded(files, vocabulary):
    return dataset.encode(files, vocabulary, TOPICS, SETTINGS)


def test_every_record_once_and_in_its_part(encoded, vocabulary):
    for held_out, part in enumerate(("train", "validation")):
        rows = encoded[part]
        assert as_pairs(rows.numbers, rows.labels) == wanted(vocabulary, bool(held_out))
    sizes = [len(rows.labels) for rows in encoded.values()]
    assert sum(sizes) == 300 and 50 < sizes[1] < 100


def test_batches_take_every_text_once_beside_others_as_long(encoded):
    rows, found, spread = encoded["train"], [], []
    for numbers, labels in dataset.batches(rows, 16, (0, 1)):
        assert numbers.dtype == np.int32 and len(numbers) == len(labels) <= 16
        lengths = (numbers != PAD).sum(axis=1)
        assert lengths.max() == numbers.shape[1] and lengths.min() >= 1
        for row, length, label in zip(numbers, lengths, labels, strict=True):
            assert (row[:length] != PAD).all()
            found.append((tuple(row[:length].tolist()), int(label)))
        spread.append(np.ptp(lengths))
    filled = (row or [UNKNOWN] for row in rows.numbers)
    assert Counter(found) == as_pairs(filled, rows.labels)
    assert max(spread) < 8 and np.ptp([len(row) for row in rows.numbers]) == 40


def test_the_order_follows_from_the_seeds(encoded):
    first, again, other = (
        [labels.tolist() for _, labels in dataset.batches(encoded["train"], 16, order)]
        for order in ((0, 1), (0, 1), (0, 2))
    )
    assert first == again and first != other
    assert encoded["train"].labels.tolist() not in (sum(first, []), sum(other, []))


def test_long_texts_are_cut(files, vocabulary):
    rows = dataset.encode(files, vocabulary, TOPICS, replace(SETTINGS, limit=10))["train"]
    assert as_pairs(rows.numbers, rows.labels) == wanted(vocabulary, False, limit=10)
    assert max(map(len, rows.numbers)) == 10


def test_an_unknown_morpheme_has_its_number(files):
    rows = dataset.encode(files, Vocabulary(("0-0/X",)), TOPICS, SETTINGS)["train"]
    assert {number for row in rows.numbers for number in row} <= {UNKNOWN, dataset.FIRST}


def test_the_parts_do_not_depend_on_the_shards(save_records, files, tmp_path):
    folder = save_records(tmp_path, made(300), shards=1)
    one = dict(
        (record["id"], held)
        for record, held in dataset.read(records.paths(folder, records.read_manifest(folder)), SETTINGS)
    )
    many = {record["id"]: held for record, held in dataset.read(files, SETTINGS)}
    assert one == many and len(one) == 300
    seed = replace(SETTINGS, seed=1)
    assert {record["id"]: held for record, held in dataset.read(files, seed)} != many


def test_records_come_back_as_they_were(files):
    found = sorted((record for record, _ in dataset.read(files, SETTINGS)), key=lambda record: record["id"])
    assert found == sorted(made(300), key=lambda record: record["id"])


def test_survey_counts_the_training_part(files):
    found = dataset.survey(files, SETTINGS)
    held = {record["id"]: held for record, held in dataset.read(files, SETTINGS)}
    assert found.classes == TOPICS and found.unlabelled == 0
    assert found.sizes["train"] == [
        sum(not held[item["id"]] for item in made(300) if item["label"] == name) for name in TOPICS
    ]
    known = {word for item in made(300) if not held[item["id"]] for word in item["morphemes"]}
    assert set(found.counts) == known  # No morpheme that is held out alone has a number.
    assert found.texts["train"][0] != found.texts["validation"][0]


def test_vocabulary_takes_the_frequent_ones():
    counts = {"나": np.array([1, 1]), "가": np.array([0, 2]), "다": np.array([3, 0]), "라": np.array([1, 0])}
    survey = dataset.Survey(TOPICS, {}, counts, 0, {})
    assert survey.vocabulary(3).words == ("다", "가", "나")
    assert survey.vocabulary(3).numbers() == {"다": 2, "가": 3, "나": 4} and len(survey.vocabulary(9)) == 6


def test_pad():
    assert dataset.pad([[5, 6], [], [7]]).tolist() == [[5, 6], [UNKNOWN, PAD], [7, PAD]]
    assert dataset.pad([]).shape == (0, 1)


@pytest.mark.parametrize(("topics", "told"), [(("가",), "주제가 1개뿐이니"), (("", ""), "주제가 0개뿐이니")])
def test_too_few_topics(save_records, tmp_path, topics, told):
    folder = save_records(tmp_path, made(40, topics))
    with pytest.raises(StudyError, match=told):
        dataset.survey(records.paths(folder, records.read_manifest(folder)), SETTINGS)


def test_a_topic_that_is_held_out_whole_and_records_without_topic(save_records, tmp_path):
    items = made(60)
    held = dataset.is_held_out(np.array([item["id"] for item in items]), SETTINGS).numpy()
    items[int(np.flatnonzero(held)[0])]["label"] = "홀로"
    folder = save_records(tmp_path / "a", items)
    with pytest.raises(StudyError, match="주제 홀로에 학습할 글이 없으니"):
        dataset.survey(records.paths(folder, records.read_manifest(folder)), SETTINGS)
    folder = save_records(
        tmp_path / "b", [item | {"label": "" if n < 9 else item["label"]} for n, item in enumerate(made(60))]
    )
    files = records.paths(folder, records.read_manifest(folder))
    assert dataset.survey(files, SETTINGS).unlabelled == 9
    encoded = dataset.encode(files, Vocabulary(()), TOPICS, SETTINGS)
    assert sum(len(rows.labels) for rows in encoded.values()) == 60 - 9


def test_settings(monkeypatch):
    from korean_nlp.commands import build_parser

    def chosen(*more):
        return choose(build_parser().parse_args(["train", "a", "--output", "b", *more]))

    assert chosen() == Settings() and chosen("--batch", "8", "--coverage", "0.5") == Settings(
        batch=8, coverage=0.5
    )
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert chosen("--seed", "3").units == 128 and chosen("--seed", "3").seed == 3
    for wrong in ({"validation": 0.0}, {"coverage": 0.0}, {"rate": -1.0}, {"seed": -1}, {"units": 0}):
        with pytest.raises(StudyError, match="바꾸세요|주세요"):
            Settings(**wrong)
