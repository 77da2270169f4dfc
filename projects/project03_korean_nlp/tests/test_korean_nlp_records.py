"""Records are what TensorFlow writes and reads, to the byte, and damage is noticed."""

import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from korean_nlp import records
from tf_study.errors import StudyError

PROJECT = Path(__file__).resolve().parents[1]


def record(number=0, **more):
    made = {"id": f"가.csv:{number}", "text": "값이 올랐다", "date": "", "label": "경제"}
    return made | {"morphemes": ["값/NNG", "이/JKS", "오르/VV", "었/EP", "다/EF"]} | more


@pytest.fixture(scope="module")
def several():
    chance = random.Random(0)
    lengths = (0, 1, 126, 127, 128, 129, 16383, 16384, 70000)  # where a length takes one byte more
    made = [
        record(length, text="a" * length, morphemes=["나/NP"] * chance.randrange(200)) for length in lengths
    ]
    return [*made, record(date="2026-01-31"), record(morphemes=[]), record(morphemes=["", "나/NP", ""])]


def test_examples_are_those_of_tensorflow(several):
    import tensorflow as tf

    def feature(value):
        values = [value] if isinstance(value, str) else value
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode() for text in values]))

    for one in several:
        made = tf.train.Example(
            features=tf.train.Features(feature={key: feature(one[key]) for key in reversed(one)})
        )
        assert records.encode(one) == made.SerializeToString(deterministic=True)
        assert records.decode(records.encode(one)) == one


def test_files_are_read_and_written_as_by_tensorflow(several, tmp_path):
    import tensorflow as tf

    examples = [*map(records.encode, several), b""]
    ours, theirs = tmp_path / "우리.gz", tmp_path / "텐서플로.gz"
    ours.write_bytes(records.pack(examples))
    with tf.io.TFRecordWriter(str(theirs), "GZIP") as writer:
        for example in examples:
            writer.write(example)
    assert [one.numpy() for one in tf.data.TFRecordDataset(str(ours), "GZIP")] == examples
    assert list(records.unpack(theirs)) == list(records.unpack(ours)) == examples
    assert gzip.decompress(ours.read_bytes()) == gzip.decompress(theirs.read_bytes())


def test_equal_records_make_equal_files(monkeypatch):
    first = records.pack([b"a"])
    monkeypatch.setattr("time.time", lambda: 0)
    assert records.pack([b"a"]) == first


def test_a_shard_is_the_same_everywhere():
    assert records.shard_of("123456789", 2**32) == 0xE3069283  # CRC-32C's published check value
    counts = Counter(records.shard_of(f"news.csv:{number}", 8) for number in range(8000))
    assert len(counts) == 8 and max(counts.values()) < 1.15 * min(counts.values())


@pytest.fixture
def folder(tmp_path):
    shards = []
    for number in range(2):
        made = [record(number, date=f"2026-01-{day:02}", undated=day > 3) for day in range(1, 5)]
        name, content = records.shard_name(number, 2), records.pack(map(records.encode, made))
        (tmp_path / name).write_bytes(content)
        shards.append(records.describe(name, content, made))
    found = records.manifest({"tagger": "kiwi"}, ["가"], {"name": "kiwi"}, shards, bad=1, duplicates=2)
    (tmp_path / records.MANIFEST).write_text(records.as_text(found), encoding="utf-8")
    return tmp_path


def test_a_folder_says_what_is_in_it(folder):
    found = records.read_manifest(folder)
    assert (found["records"], found["bad"], found["duplicates"], found["undated"]) == (8, 1, 2, 2)
    assert found["labels"] == {"경제": 8} and found["morphemes"] == 40
    assert found["dates"] == ["2026-01-01", "2026-01-04"]
    read = list(records.read(folder))
    assert len(read) == 8 and set(read[0]) == set(records.SCHEMA) and read[7]["date"] == "2026-01-04"


def test_damage_is_told(folder):
    shard = folder / records.shard_name(1, 2)
    whole = shard.read_bytes()
    plain = bytearray(gzip.decompress(whole))
    plain[40] ^= 1
    for damaged in (gzip.compress(plain), gzip.compress(plain[:-2]), whole[:-9], b"", b"text"):
        shard.write_bytes(damaged)
        with pytest.raises(StudyError, match="저장한 때와 다르니"):
            records.read_manifest(folder)
        if damaged:
            with pytest.raises(StudyError, match="깨졌으니 prepare를 --restart로"):
                list(records.unpack(shard))
    shard.unlink()
    with pytest.raises(StudyError, match="없거나 저장한 때와"):
        records.read_manifest(folder)
    assert records.read_manifest(folder, verify=False)["records"] == 8
    manifest = folder / records.MANIFEST
    for text in ("{", "[]", "{}", json.dumps({"format": 99, "schema": {}, "records": 0, "shards": []})):
        manifest.write_text(text)
        with pytest.raises(StudyError, match="manifest.json의 내용이 깨졌으니"):
            records.read_manifest(folder)
    manifest.unlink()
    with pytest.raises(StudyError, match="prepare를 마친 글이 없으니"):
        records.read_manifest(folder)


def test_what_beam_runs_needs_no_tensorflow():
    code = (
        "import sys; from korean_nlp import cleaning, duplicates, morphemes, reading, records, steps; "
        "duplicates.bands(['가나다라'], 0.8); records.pack([b'']); "
        "print(sorted({'tensorflow', 'pandas', 'keras', 'konlpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
