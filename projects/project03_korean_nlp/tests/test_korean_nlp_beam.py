"""The Apache Beam pipeline makes the same folder as one machine, to the byte."""

import json
import random

import pytest

from korean_nlp import records, submitting
from korean_nlp.__main__ import main
from tf_study import data
from tf_study.errors import StudyError


@pytest.fixture
def run(capfd):
    """A function that runs a command and returns status, stdout and stderr, those of Beam's process too."""

    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def beam():
    """The Python that has Beam; skips where there is none."""
    try:
        return submitting.python()
    except StudyError as error:
        pytest.skip(str(error))


@pytest.fixture
def sources(tmp_path):
    """Two files: headlines with near-duplicates within and between them, and bad lines."""
    chance = random.Random(0)
    texts, labels = data.topics_ko(test=60)[1]
    rows = [{"text": text, "label": data.TOPICS[label]} for text, label in zip(texts, labels, strict=True)]
    for row in rows[:30]:
        place = chance.randrange(len(row["text"]))
        rows.append(row | {"text": row["text"][:place] + chance.choice("가나!. ") + row["text"][place:]})
    rows += rows[:5] + [{"text": "최고"}, {"text": "최고!"}, {"text": ""}]
    chance.shuffle(rows)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines[:50], "{"]), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("\n".join(lines[50:]), encoding="utf-8")
    return [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]


def test_the_same_folder(run, beam, sources, here, tmp_path):
    one, there = tmp_path / "여기", tmp_path / "빔"
    more = ("--shards", 3, "--duplicates", 0.7)
    assert (
        run("prepare", *sources, "embedded", "--part", "test", "--output", one, "--processes", 1, *more)[0]
        == 0
    )
    status, out, err = run(
        "prepare",
        *sources,
        "embedded",
        "--part",
        "test",
        "--output",
        there,
        "--runner",
        "DirectRunner",
        *more,
    )
    assert status == 0 and err == "" and "앞의 글과 비슷해 뺀 글" in out
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (one, there))
    assert first == second and len(first) == 3 + 4
    found = records.read_manifest(there)
    assert found["duplicates"] > 60 and found["bad"] == 2 and found["records"] > 147
    status, _, err = run("prepare", sources[0], "--output", there, "--runner", "DirectRunner")
    assert status == 1 and "prepare를 마친 글이 있으니" in err


def test_what_fails_is_one_sentence(run, beam, tmp_path):
    (tmp_path / "a.csv").write_text("Q,A\n1,2\n", encoding="utf-8")
    given = ("prepare", tmp_path / "a.csv", "--output", tmp_path / "c", "--runner")
    status, out, err = run(*given, "DirectRunner")
    assert status == 1 and out == "" and "--text-column으로 알려 주세요" in err and len(err.splitlines()) == 1
    status, _, err = run(*given, "NoRunner", "--text-column", "Q")
    assert status == 1 and err.splitlines()[-1].startswith("Beam의 NoRunner이(가) 끝까지 처리하지 못했으니")
    assert not (tmp_path / "c" / "manifest.json").exists() and not (tmp_path / "c" / ".work").exists()


def test_without_beam(run, tmp_path):
    (tmp_path / "b.txt").write_text("글\n", encoding="utf-8")
    missing = tmp_path / "python"
    status, _, err = run(
        "prepare",
        tmp_path / "b.txt",
        "--output",
        tmp_path / "c",
        "--runner",
        "DirectRunner",
        "--beam-python",
        missing,
    )
    assert status == 1 and "make beam으로 설치하거나" in err and not (tmp_path / "c").exists()


def test_other_computers_do_not_see_this_one(run, tmp_path):
    status, _, err = run("prepare", "embedded", "--output", "gs://bucket/a", "--runner", "DataflowRunner")
    assert status == 1 and "embedded 대신 gs://로 시작하는 주소를 주세요" in err
