"""The command line: tables, JSON, pictures of the evaluation, and mistakes in Korean."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_classifier.__main__ import main


@pytest.fixture
def run(capsys):
    """Run a command; return status, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


def test_predict_table_with_good_and_bad_files(run, trained, pictures):
    red, green = pictures / "빨강" / "00.jpeg", pictures / "초록" / "01.png"
    missing = pictures / "없음.png"
    status, out, err = run("predict", trained, red, pictures / "초록" / "글.jpg", missing, green, "--top", 2)
    head, *rows = out.splitlines()
    assert status == 0 and head.split() == ["파일", "1위", "2위"] and len(rows) == 2
    assert [row.split()[:2] for row in rows] == [[str(red), "빨강"], [str(green), "초록"]]
    assert "건너뛴 것: 2개" in err and "JPEG, PNG, WebP 그림이 아니니" in err and "파일이 없으니" in err


def test_predict_json_of_a_folder(run, trained, pictures):
    status, out, err = run("predict", trained, pictures, "--json", "--top", 9, "--format", "int8")
    answer = json.loads(out)
    assert status == 0 and len(answer["results"]) == 60 and len(answer["skipped"]) == 3
    assert "건너뛴 것: 3개" in err
    right = 0
    for item in answer["results"]:
        shares = [entry["probability"] for entry in item["predictions"]]
        assert len(shares) == 3 and shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        right += item["predictions"][0]["class"] == Path(item["file"]).parent.name
    assert right > 0.8 * 60


def test_predict_without_one_good_file(run, trained, pictures, tmp_path):
    status, out, err = run("predict", trained, pictures / "초록" / "글.jpg", tmp_path, "--json")
    assert status == 1 and len(json.loads(out)["skipped"]) == 2
    assert "분류할 수 있는 그림이 하나도 없으니" in err and "빈 폴더" in err


def test_predict_is_silent_on_stderr(trained, pictures, capfd):
    """TensorFlow Lite's C++ too; what TensorFlow says when it is imported, the server's process shows."""
    assert main(["predict", str(trained), str(pictures / "파랑" / "00.jpeg")]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "파랑" in out


def test_evaluate_writes_report_and_pictures(run, trained, pictures, tmp_path, encode):
    status, out, err = run("evaluate", trained, "--output", tmp_path / "a")
    assert status == 0 and "precision" in out and "형식 비교 (그림 9장" in out and err == ""
    report = json.loads((tmp_path / "a" / "report.json").read_text(encoding="utf-8"))
    assert np.sum(report["matrix"]) == 9 and report["report"]["빨강"]["support"] == 3

    other = tmp_path / "다른 사진"
    for name, colour in (("빨강", "blue"), ("파랑", "blue")):  # one label is wrong on purpose
        (other / name).mkdir(parents=True)
        (other / name / "a.png").write_bytes(encode(Image.new("RGB", (40, 40), colour)))
    (other / "파랑" / "b.png").write_bytes(b"broken")
    status, out, err = run("evaluate", trained, other, "--output", tmp_path / "b", "--format", "keras")
    report = json.loads((tmp_path / "b" / "report.json").read_text(encoding="utf-8"))
    assert status == 0 and "건너뛴 것: 1개" in err and report["accuracy"] == 0.5
    assert [(item["truth"], item["guess"]) for item in report["mistakes"]] == [("빨강", "파랑")]
    for name in ("confusion.png", "mistakes.png"):
        with Image.open(tmp_path / "b" / name) as figure:
            assert min(figure.size) > 100

    (other / "노랑").mkdir()
    assert "모델이 모르는 클래스가 있으니" in run("evaluate", trained, other)[2]


def test_export_lists_the_files(run, trained, tmp_path):
    status, out, _ = run("export", trained, "--output", tmp_path, "--formats", "keras", "tflite")
    assert status == 0 and [line.split()[-1] for line in out.splitlines()] == ["kB", "kB"]
    assert run("export", tmp_path / "없음")[0] == 1


def test_train_refuses_in_one_sentence_and_keeps_the_old_model(run, trained, tmp_path, arguments):
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    for folder, part in ((tmp_path / "없음", "폴더를 열 수 없으니"), (tmp_path, "클래스 폴더가 없으니")):
        status, out, err = run("train", folder, "--output", trained, "--restart", *arguments)
        assert status == 1 and out == "" and part in err and len(err.splitlines()) == 1
    status, _, err = run("train", tmp_path, "--output", trained, *arguments)
    assert status == 1 and "학습을 마친 모델이 있으니" in err
    assert before == {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    assert "side=8" in run("train", tmp_path, "--output", tmp_path / "m", "--side", 8)[2]


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["train", "a"], ["predict", "m"], ["predict", "m", "a", "--top", "0"],
     ["predict", "m", "a", "--format", "onnx"], ["train", "a", "--output", "b", "--epochs", "1"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_is_korean(capsys):
    for arguments in (["--help"], ["train", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "도움말" in out and "options:" not in out


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    from image_classifier import commands

    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupt)
    assert main(["train", "a", "--output", "b"]) == 130
    assert "같은 명령을 다시 실행하세요" in capsys.readouterr().err
