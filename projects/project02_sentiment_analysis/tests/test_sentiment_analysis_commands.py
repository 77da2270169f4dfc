"""The command line: answers as table and JSON, texts from everywhere, mistakes in Korean."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from project_commands import runner
from sentiment_analysis import dataset, model, prediction
from sentiment_analysis.__main__ import main
from tf_study.errors import StudyError

PROJECT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "evaluate", "export", "predict", "serve", "measure")
run = runner(main)


def test_help_and_mistakes_need_no_tensorflow():
    program = "import sys; from sentiment_analysis.__main__ import main\n"
    program += f"for words in [[name, '--help'] for name in {COMMANDS}] + [['train'], ['serve', 'm', '--port', 'x']]:\n"
    program += "    try: main(words)\n    except SystemExit as end: print(end.code)\n"
    program += "print('tensorflow' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("0", "1", "2")] == ["0"] * 6 + ["2"] * 2 and lines[
        -1
    ] == "False False"
    assert done.stderr.count("--help를 보고 고치세요") == 2


@pytest.mark.parametrize(
    "words",
    [
        [], ["x"], ["train"], ["train", "--output", "a", "--encoder", "bert"], ["predict"], ["export", "a", "--forms"],
        ["train", "--output", "a", "--epochs", "1"], ["serve", "a", "--max-wait", "-1"], ["measure", "--rate", "0"],
    ],
)  # fmt: skip
def test_mistakes_of_arguments(run, words, capsys):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_predict_texts(run, exported):
    status, out, err = run("predict", exported, "정말 재미있어요", "길고 " * 50, "--form", "int8")
    head, *rows = out.splitlines()
    assert status == 0 and head.split() == ["답", "확률", "글"] and len(rows) == 2 and err == ""
    assert (
        rows[0].split()[0] in ("부정", "긍정")
        and rows[0].endswith("정말 재미있어요")
        and rows[1].endswith("…")
    )


def test_predict_a_file_and_standard_input(run, exported, int8, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "load", lambda folder, form: int8)
    content = "\ufeff첫 글\r\n\n둘째\t글\n마지막".encode()
    (tmp_path / "a.txt").write_bytes(content)
    monkeypatch.setattr(prediction, "ROWS", 2)
    status, out, err = run("predict", exported, "--file", tmp_path / "a.txt", "--json", "--form", "int8")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [answer["text"] for answer in answers] == ["첫 글", "둘째\t글", "마지막"]
    assert all(answer["class"] == ("부정", "긍정")[answer["label"]] for answer in answers)
    assert all(0.5 <= answer["probability"] <= 1 for answer in answers)
    assert "건너뛴 것: 1개" in err and "2번째 글" in err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    assert run("predict", exported, "--json", "--form", "int8")[1] == out


def test_predict_says_what_is_wrong(run, exported, int8, trained, tmp_path, monkeypatch):
    load = model.load
    monkeypatch.setattr(
        model, "load", lambda folder, form: int8 if folder == exported else load(folder, form)
    )
    (tmp_path / "a.txt").write_bytes("글".encode("euc-kr"))
    (tmp_path / "b.txt").write_bytes(b"\n \n")
    for words, sentence in (
        ((exported, "--file", tmp_path / "a.txt"), "UTF-8이 아니니"),
        ((exported, "--file", tmp_path / "없음"), "읽을 수 없으니 경로를"),
        ((exported, "--file", tmp_path / "b.txt"), "글이 하나도 없으니"),
        ((exported, "글", "--file", tmp_path / "b.txt"), "하나만 주세요"),
        ((trained, "글"), "int8 형식이 없으니 export를 먼저"),
    ):
        status, out, err = run("predict", *words, "--form", "int8")
        assert status == 1 and sentence in err and out == ""


def test_train_tells_what_is_in_the_data(run, tsv, tmp_path, eager):
    options = ("--epochs", 1, 1, "--pretraining", 0, "--blocks", 0, "--tokens", 16)
    status, out, err = run("train", "--data", tsv, "--output", tmp_path / "모델", *options)
    assert status == 0 and "건너뛴 것: 5개" in err and "칸이 2개이니 3개로" in err
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["훈련", "87"],
        ["검증", "10"],
        ["테스트", "24"],
    ]
    assert "겹치는 리뷰를 뺐습니다: 훈련에서 " in out and "[머리] 1/1" in out and "[미세 조정]" not in out
    card = json.loads((tmp_path / "모델" / "model.json").read_text(encoding="utf-8"))
    assert card["data"] == str(tsv.resolve())
    changed = tmp_path / "다른.tsv"
    changed.write_text(tsv.read_text(encoding="utf-8") + "999\t새 글\t1\n", encoding="utf-8")
    with pytest.raises(StudyError, match="리뷰가 학습한 때와 다르니 되돌리거나"):
        dataset.of_card(card | {"data": str(changed)})
