"""The commands as they are typed: answers, files, and one sentence for every mistake."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from mini_sora_dit import evaluation, storage
from mini_sora_dit.__main__ import main
from project_commands import runner

run = runner(main)


def test_sample_of_a_model(run, loaded_once, finished, tmp_path):
    options = ["--steps", 2, "--seed", 3, "--count", 2]
    a, b, strips = tmp_path / "a.gif", tmp_path / "b.gif", tmp_path / "a.png"
    status, out, err = run("sample", finished, "--output", a, strips, *options)
    assert (status, err) == (0, "") and "영상 4편, 9프레임" in out
    assert "시드 3~4, 해법 euler 2스텝, 가이던스 2" in out
    with Image.open(a) as film, Image.open(strips) as sheet:
        assert film.size == (4 * (2 * 9 + 1), 4 * (2 * 9 + 1))
        assert sheet.size == (3 * (9 * 9 + 1), 3 * (4 * 9 + 1))
        whole = np.asarray(sheet)
    run("sample", finished, "--output", b, *options)
    assert a.read_bytes() == b.read_bytes()
    one = tmp_path / "한 편.png"
    run("sample", finished, "--output", one, "--steps", 2, "--seed", 4, "--class", "파랑")
    with Image.open(one) as strip:  # The same seed and class alone: the last row of the sheet.
        row, other = (whole[3 * top * 9 :][: 3 * 10].astype(int) for top in (3, 2))
        assert np.abs(np.asarray(strip) - row).max() <= 1  # one level where oneDNN does not compute
        assert np.abs(row - other).max() > 20  # another seed


def test_length_and_first_frame(run, loaded_once, finished, tmp_path):
    Image.new("RGB", (30, 20), (220, 40, 40)).save(tmp_path / "빨강.png")
    command = ["sample", finished, "--steps", 2, "--class", "빨강", "--output", tmp_path / "a.gif"]
    status, out, err = run(*command, "--frames", 12, "--first", tmp_path / "빨강.png")
    assert (status, err) == (0, "") and "영상 1편, 12프레임" in out
    (tmp_path / "글.png").write_text("글")
    assert "그림으로 읽을 수 없으니 PNG나 GIF" in run(*command, "--first", tmp_path / "글.png")[2]


def test_evaluate_and_sample_of_the_course(run, loaded_once, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "REFERENCE", 60)  # How large distances are is not asked here.
    output = tmp_path / "평가"
    command = [
        "evaluate",
        "--output",
        output,
        "--count",
        4,
        "--steps",
        2,
        "--sweep",
        1,
        2,
        "--lengths",
        9,
        13,
    ]
    status, out, err = run(*command)
    assert (status, err) == (0, "")
    for word in (
        "영상 4편, 해법 euler 2스텝, 가이던스 2",
        "프레임을 섞은 진짜",
        "첫 프레임을 주고 생성",
        "adams",
    ):
        assert word in out
    assert {path.name for path in output.iterdir()} == {
        "report.json", "clips.png", "steps.json", "steps.png", "lengths.json"
    }  # fmt: skip
    numbers = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert numbers["real"]["direction"] == 1 and numbers["shuffled"]["motion"] > 4 * numbers["real"]["motion"]
    swept = json.loads((output / "steps.json").read_text(encoding="utf-8"))
    assert swept["euler"]["2"] == numbers["drawn"]  # the same seeds, steps and guidance
    longer = json.loads((output / "lengths.json").read_text(encoding="utf-8"))
    assert longer["9"] == {name: numbers["drawn"][name] for name in longer["9"]} and longer.keys() == {
        "9",
        "13",
    }
    with Image.open(output / "clips.png") as sheet, Image.open(output / "steps.png") as figure:
        assert sheet.size == (3 * (9 * 17 + 1), 3 * (12 * 17 + 1)) and figure.width > 500
    asked = ["--class", "3", "7", "--direction", "오른쪽 위", "--steps", 2]
    status, out, err = run("sample", "--output", tmp_path / "a.gif", *asked)
    assert (status, err) == (0, "") and "영상 2편, 9프레임" in out


def test_mistakes_have_one_sentence(run, finished, load, folder, tmp_path, arguments, monkeypatch):
    broken = tmp_path / "깨짐"
    shutil.copytree(finished, broken)
    (broken / "transformer.npz").write_bytes(b"broken")
    picture = ("--output", tmp_path / "a.gif")
    monkeypatch.setitem(sys.modules, "av", None)
    for command, part in (
        (["sample", tmp_path / "없음", *picture], "모델 폴더"),
        (["sample", tmp_path, *picture], "모델이 없으니 train을"),
        (["sample", broken, *picture], "저장한 때와 다르니 원본을 복사하거나"),
        (["sample", finished, *picture, "--class", "노랑"], "클래스 '노랑'은(는) 모르니 빨강, 파랑"),
        (["sample", finished, *picture, "--direction", "왼쪽 위"], "방향을 모르니 방향을 빼세요"),
        (["sample", *picture, "--direction", "위"], "방향 '위'은(는) 모르니 왼쪽 위"),
        (["sample", finished, *picture, "--seed", -1], "시드 -1"),
        (["sample", finished, *picture, "--guidance", 99], "가이던스 99"),
        (["sample", finished, *picture, "--steps", 2000], "스텝 2000"),
        (["sample", finished, *picture, "--frames", 1000], "길이 1000"),
        (["sample", finished, "--output", tmp_path / "a.txt"], ".gif, .png, .mp4 가운데"),
        (["sample", finished, "--output", tmp_path / "a.mp4"], "`pip install av`로 설치하거나 GIF를"),
        (["evaluate", finished, "--output", tmp_path], "mnist로 학습한 모델을 주세요"),
        (["train", folder, "--output", finished, *arguments], "학습을 마친 모델이 있으니"),
        (["train", tmp_path / "없음", "--output", finished, *arguments], "폴더를 열 수 없으니"),
        (["train", folder, "--output", tmp_path / "m", "--side", "100"], "side=100"),
        (["train", "mnist", "--output", tmp_path / "m", "--side", "20"], "16이나 32로"),
    ):
        status, out, err = run(*command)
        lines = [line for line in err.splitlines() if not line.startswith(("건너뛴", "  "))]
        assert status == 1 and len(lines) == 1 and part in lines[0] and lines[0].endswith("."), err
    (broken / "model.json").write_text("{}", encoding="utf-8")
    assert "깨졌으니 train을 --restart로" in run("sample", broken, *picture)[2]
    monkeypatch.setattr(storage, "load_animator", load)
    (tmp_path / "파일").write_text("x")
    assert "쓸 수 없으니" in run("sample", finished, "--steps", 1, "--output", tmp_path / "파일" / "a.gif")[2]
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["train", "mnist"], ["sample"], ["sample", "--output", "a.gif", "--steps", "0"],
     ["sample", "--output", "a.gif", "--solver", "heun"], ["train", "mnist", "--output", "a", "--without", "x"],
     ["serve", "--port", "99999"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_is_korean(capsys):
    for arguments in (["--help"], ["sample", "-h"], ["train", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "도움말" in out and "options:" not in out


def test_bench_measures(run, loaded_once, finished, monkeypatch):
    monkeypatch.setattr("mini_sora_dit.bench.SECONDS", 0)
    monkeypatch.setattr("mini_sora_dit.bench.BATCH", 4)
    status, out, err = run("bench", finished)
    assert (status, err) == (0, "") and "프레임/초" in out and "adams" in out
    assert all(
        float(line.split()[-1]) > 0 for line in out.splitlines() if line.startswith(("euler", "adams"))
    )


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    from mini_sora_dit import commands

    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupt)
    assert main(["train", "mnist", "--output", "b"]) == 130
    assert "같은 명령을 다시 실행하세요" in capsys.readouterr().err
