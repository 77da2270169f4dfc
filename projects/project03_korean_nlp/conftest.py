"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import pytest

from korean_nlp import morphemes, records, steps


@pytest.fixture(scope="session")
def kiwi():
    """The analyser, started once."""
    return morphemes.Tagger("kiwi")


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
