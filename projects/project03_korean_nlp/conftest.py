"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

from pathlib import Path

import numpy as np
import pytest

from korean_nlp import cleaning, morphemes, pool, records, steps

WORDS = {
    "경제": "금리 주가 환율 은행 수출 물가 예산 증시",
    "날씨": "태풍 폭염 장마 한파 기온 황사 소나기 안개",
    "스포츠": "야구 축구 감독 투수 결승 배구 홈런 우승",
}
COMMON = "오늘 내일 전국 발표 소식 관심 전망 시민".split()
ARGUMENTS = ("--epochs", "3", "--batch", "16", "--rate", "0.01", "--validation", "0.25")


@pytest.fixture(scope="session")
def kiwi():
    """The analyser, started once."""
    return morphemes.Tagger("kiwi")


class Here:
    """Stands in for ``pool.Workers``: does every task in this process."""

    cpu = 0.0

    def __init__(self, count, make, argument, lock):
        self.made = make(argument)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        pass

    def ready(self):
        pass

    def run(self, work, tasks):
        for task in tasks:
            yield from work(self.made, task)


@pytest.fixture
def here(kiwi, monkeypatch):
    """Let ``prepare`` analyse in this process: another one would start an analyser of its own, in seconds."""
    monkeypatch.setattr(morphemes, "Tagger", lambda name: kiwi)
    monkeypatch.setattr(pool, "Workers", Here)


@pytest.fixture(scope="session")
def write_folder(kiwi):
    """A function that writes a folder as ``prepare`` does, of (text, label, date) and without another process."""

    def write(folder, rows, shards=2):
        items = [
            {"id": f"글:{number}", "text": text, "label": label, "date": date, "undated": False}
            for number, (text, label, date) in enumerate(rows, start=1)
        ]
        told = []
        for number in range(shards):
            own = steps.analysed(kiwi, [x for x in items if records.shard_of(x["id"], shards) == number])
            content = records.pack(map(records.encode, own))
            name = records.shard_name(number, shards)
            (folder / name).write_bytes(content)
            told.append(records.describe(name, content, own))
        about = {"name": kiwi.name, "version": kiwi.version}
        found = records.manifest({"shards": shards}, ["글"], about, told, bad=0, duplicates=0)
        (folder / records.MANIFEST).write_text(records.as_text(found), encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def headlines(write_folder, tmp_path_factory):
    """Folders of the embedded headlines, ``train`` (588) and ``test`` (147). Tests must not change them."""
    from tf_study import data

    parts = zip(("train", "test"), data.topics_ko(), strict=True)
    return {
        name: write_folder(
            tmp_path_factory.mktemp(name),
            [(text, data.TOPICS[label], "") for text, label in zip(texts, labels, strict=True)],
        )
        for name, (texts, labels) in parts
    }


@pytest.fixture(scope="session")
def reviews(write_folder, tmp_path_factory):
    """A folder of 120 reviews: none is about a topic of the headlines. Tests must not change it."""
    from tf_study import data

    texts, _ = data.nsmc(test=120)[1]
    return write_folder(tmp_path_factory.mktemp("reviews"), [(text, "", "") for text in texts])


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Return texts and topics: two words of the topic and two of none; some words are rarer than others."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        topic = list(WORDS)[number % len(WORDS)]
        words = [*random.choice(WORDS[topic].split(), 2), *random.choice(COMMON, 2)]
        found.append((" ".join(random.permutation(words)), topic))
    return found


def save(folder: Path, items: list[dict], shards: int = 3, tagger: dict | None = None) -> Path:
    """Write records, morphemes and all, as ``prepare`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    tagger = tagger or {"name": "kiwi", "version": morphemes.version("kiwi")}
    parts: list[list[dict]] = [[] for _ in range(shards)]
    for item in items:
        parts[records.shard_of(item["id"], shards)].append(item)
    described = []
    for number, part in enumerate(parts):
        name, content = records.shard_name(number, shards), records.pack(map(records.encode, part))
        (folder / name).write_bytes(content)
        described.append(records.describe(name, content, part))
    settings = {"cleaning": cleaning.VERSION}
    manifest = records.manifest(settings, ["시험"], tagger, described, 0, 0)
    (folder / records.MANIFEST).write_text(records.as_text(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def save_records():
    """Give tests :func:`save`."""
    return save


@pytest.fixture(scope="session")
def items(kiwi):
    """Records of three topics, analysed by Kiwi: "train" and "test"."""
    found = {}
    for part, count, seed in (("train", 240, 0), ("test", 90, 1)):
        pairs = sentences(count, seed)
        rows = kiwi.tag([text for text, _ in pairs])
        found[part] = [
            {"id": f"{part}:{number}", "text": text, "date": "", "label": topic, "morphemes": row}
            for number, ((text, topic), row) in enumerate(zip(pairs, rows, strict=True))
        ]
    return found


@pytest.fixture(scope="session")
def prepared(items, tmp_path_factory):
    """The folders of :func:`items`. Tests must not change them."""
    root = tmp_path_factory.mktemp("글")
    return {part: save(root / part, found) for part, found in items.items()}


@pytest.fixture(scope="session")
def arguments():
    """Options of ``train`` with which three topics are learnt in seconds."""
    return ARGUMENTS


@pytest.fixture(scope="session")
def trained(prepared, arguments, tmp_path_factory):
    """The folder of finished models of three topics. Tests must not change it."""
    from korean_nlp.__main__ import main

    output = tmp_path_factory.mktemp("모델") / "모델"
    assert main(["train", str(prepared["train"]), "--output", str(output), *arguments]) == 0
    return output
