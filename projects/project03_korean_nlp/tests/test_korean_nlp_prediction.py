"""A stream: a line out for every line in, in the same order, in constant memory."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from korean_nlp import prediction, storage
from korean_nlp.__main__ import main

PROJECT = Path(__file__).resolve().parents[1]
CLASSES = ["경제", "스포츠"]


class Scripted:
    """Is sure of 야구 and 금리, and of nothing else. Notes how many texts it was given at once."""

    def __init__(self):
        self.given = []

    def probabilities(self, texts, morphemes):
        assert len(texts) == len(morphemes)
        self.given.append(len(texts))
        sure = {"금리": (0.9, 0.1), "야구": (0.2, 0.8)}
        answers = [sure.get(row[0] if row else "", (0.55, 0.45)) for row in morphemes]
        return np.array(answers, np.float32).reshape(-1, 2)


def tag(texts):
    return [text.split() for text in texts]


def answers(content, is_json=None, column=None, batch=3, threshold=0.6, scripted=None):
    """The objects that come of the bytes of a stream, and the two counts."""
    out = io.BytesIO()
    lines = prediction.read(io.BytesIO(content), is_json, column)
    counts = prediction.write(
        prediction.classify(lines, scripted or Scripted(), tag, CLASSES, threshold, batch), out
    )
    return [json.loads(line) for line in out.getvalue().decode().splitlines()], counts


def jsonl(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_lines_keep_their_order_and_what_they_hold():
    given = [{"id": n, "text": ("금리", "야구", "구름")[n % 3], "date": "2026-01-02"} for n in range(8)]
    found, counts = answers(jsonl(*given))
    assert counts == (8, 0) and [row["id"] for row in found] == list(range(8))
    assert found[0] == given[0] | {"topic": "경제", "closest": "경제", "probability": 0.9}
    assert found[1] == given[1] | {"topic": "스포츠", "closest": "스포츠", "probability": 0.8}
    assert found[2] == given[2] | {"topic": "기타", "closest": "경제", "probability": 0.55}
    assert answers(jsonl(*given), threshold=0.0)[0][2]["topic"] == "경제"
    assert answers(jsonl(*given), batch=1) == answers(jsonl(*given), batch=100) == (found, counts)


def test_bad_lines_are_answered_where_they_stand():
    content = b"\n".join(
        [
            '{"text": "금리"}'.encode(),
            b"",
            b"{broken",
            b"[1, 2]",
            b'{"text": 3}',
            b'{"other": "x"}',
            b'{"text": "\xff"}',
            b'{"text": "\\ud800"}',
            b'{"text": "x", "y": NaN}',
            b"[" * 100_000,
            '{"제목": "야구", "error": "옛것"}'.encode(),
        ]
    )
    found, counts = answers(content)
    assert counts == (11, 9) and [row.get("line") for row in found] == [None, *range(2, 11), None]
    assert [row["topic"] for row in (found[0], found[-1])] == ["경제", "스포츠"]
    assert [row["error"] for row in found[1:10]] == [
        "글이 비었습니다", "JSON 객체가 아닙니다", "JSON 객체가 아닙니다", "글이 없습니다", "글이 없습니다",
        "글자가 깨졌습니다", "글자나 수가 깨졌습니다", "글자나 수가 깨졌습니다", "JSON 객체가 아닙니다",
    ]  # fmt: skip


def test_plain_lines_and_how_they_are_told():
    found, _ = answers("\ufeff금리\r\n{야구}\n".encode(), is_json=None)
    assert [row["text"] for row in found] == ["금리", "{야구}"]
    assert answers(b'\n \n{"text": "x"}\n')[1] == (3, 2)  # The first line that is not blank decides.
    assert answers(b'{"text": "x"}', is_json=False)[0][0]["text"] == '{"text": "x"}'
    assert answers(b'{"body": "x", "text": 1}', column="body")[0][0]["closest"] == "경제"
    assert answers(b"") == ([], (0, 0))
    assert prediction._is_json("a.jsonl") and prediction._is_json("a.txt") is False
    assert prediction._is_json("-") is None is prediction._is_json("a.log")


def test_a_line_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(prediction.reading, "LONGEST", 100)
    found, counts = answers(b"x" * 350 + b"\n" + "야구\n".encode() + b"y" * 99 + b"\n" + b"z" * 500)
    assert [row.get("error") for row in found] == ["줄이 너무 깁니다", None, None, "줄이 너무 깁니다"]
    assert found[1]["topic"] == "스포츠" and [found[0]["line"], found[3]["line"]] == [1, 4]


def test_long_lines_are_not_taken_many_at_once():
    scripted = Scripted()
    long = "가" * (prediction.LETTERS // 2)
    answers("".join(f"{long}\n" for _ in range(5)).encode(), batch=64, scripted=scripted)
    assert scripted.given == [2, 2, 1]


def test_answers_are_there_before_the_stream_ends():
    """Each block is written and flushed as soon as it is complete."""
    read, write = os.pipe()
    with open(read, "rb") as source, open(write, "wb", buffering=0) as sink:
        lines = prediction.read(source, True)
        blocks = prediction.classify(lines, Scripted(), tag, CLASSES, 0.6, batch=2)
        sink.write(jsonl({"text": "금리"}, {"text": "야구"}))
        assert [row["topic"] for row in next(blocks)] == ["경제", "스포츠"]


def memory():
    """The bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="메모리를 /proc에서 읽습니다.")
def test_memory_is_constant_with_a_real_network(trained):
    """If anything kept the lines, or their answers, 40 MB would be added after the first fifth of 4,000 lines."""
    card = storage.read_card(trained)
    network = storage.load(trained, card, "lstm")
    random, words = np.random.default_rng(0), [word.partition("/")[0] for word in card["classes"]]

    class Endless(io.RawIOBase):
        """Lines that are made while they are read."""

        def __init__(self, count):
            self.left = count

        def readline(self, limit=-1):
            self.left -= 1
            text = " ".join(random.choice(words, random.integers(1, 20))) + "가" * 500
            return b"" if self.left < 0 else jsonl({"text": text, "more": "나" * 6500})

    class Counted(io.RawIOBase):
        """Forgets what is written, and notes the memory."""

        def __init__(self):
            self.total, self.sizes = 0, []

        def write(self, content):
            self.total += len(content)
            self.sizes.append(memory())

        def flush(self):
            pass

    output = Counted()
    blocks = prediction.classify(
        prediction.read(Endless(4_000), True), network, tag, card["classes"], 0.5, 250
    )
    assert prediction.write(blocks, output) == (4_000, 0)
    warm = output.sizes[len(output.sizes) // 5]
    assert output.total > 80e6 and output.sizes[-1] - warm < 20e6


def test_the_command(trained, items, kiwi, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(storage.morphemes, "Tagger", lambda name: kiwi)  # started already
    given = [{"id": item["id"], "text": item["text"]} for item in items["test"][:30]]
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(jsonl(*given) + b"{broken\n")
    card = storage.read_card(trained)
    for kind in ("lstm", "baseline"):
        command = ["predict", str(trained), str(path), "--output", str(output), "--with", kind]
        assert main([*command, "--threshold", "0"]) == 0
        err = capsys.readouterr().err
        assert "31줄 가운데 1줄" in err
        found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert found[-1] == {"line": 31, "error": "JSON 객체가 아닙니다"}
        rows = storage.load(trained, card, kind).probabilities(
            [item["text"] for item in items["test"][:30]], [item["morphemes"] for item in items["test"][:30]]
        )
        assert [row["topic"] for row in found[:-1]] == [
            card["classes"][place] for place in rows.argmax(axis=1)
        ]
        np.testing.assert_allclose([row["probability"] for row in found[:-1]], rows.max(axis=1), atol=1e-4)
    path.write_bytes("{경제\n금리\n".encode("cp949"))
    kept = output.read_bytes()
    assert main(["predict", str(trained), str(path), "--with", "baseline", "--output", str(output)]) == 1
    assert "읽은 줄이 하나도 없으니 UTF-8로" in capsys.readouterr().err and output.read_bytes() != kept
    assert main(["predict", str(trained), str(tmp_path / "없음")]) == 1
    assert "읽을 수 없으니 경로와 권한을" in capsys.readouterr().err


def test_as_a_program_that_is_cut_off(trained, tmp_path):
    """``predict ... | head -2``: two answers, no complaint; the threshold is the card's and bad lines are counted."""
    path = tmp_path / "in.txt"
    path.write_text("금리 주가 발표\n" * 20_000, encoding="utf-8")
    command = [sys.executable, "-m", "korean_nlp", "predict", str(trained), str(path), "--with", "baseline"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()
    assert [row["topic"] for row in first] == ["경제", "경제"]


def test_another_version_of_the_analyser_is_said(trained, monkeypatch, capsys):
    monkeypatch.setattr("korean_nlp.morphemes.version", lambda name: "9.9.9")
    assert main(["predict", str(trained), "-", "--with", "lstm"]) == 1
    assert "배웠는데 여기에는 9.9.9이(가) 있으니" in capsys.readouterr().err
