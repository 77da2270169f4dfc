"""The commands as they are typed: answers, files, and one sentence for every mistake."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from diffusion_image_gen import evaluation, pictures, storage
from diffusion_image_gen.__main__ import main
from project_commands import runner

run = runner(main)


@pytest.fixture
def loaded_once(loaded, monkeypatch):
    """Every command draws with one painter, and its compiled steps."""
    monkeypatch.setattr(storage, "load_painter", lambda folder: loaded)


def test_sample_of_a_model(run, loaded_once, finished, tmp_path):
    options = ["--sampler", "ddim", "--steps", 5, "--seed", 3, "--count", 3]
    status, out, err = run(
        "sample", finished, "--output", tmp_path / "a.png", "--gif", tmp_path / "a.gif", *options
    )
    assert (status, err) == (0, "") and "클래스 빨강, 파랑, 가이던스 2, 시드 3~5, 샘플러 ddim 5스텝" in out
    with Image.open(tmp_path / "a.png") as sheet, Image.open(tmp_path / "a.gif") as film:
        assert sheet.size == film.size == (4 * (3 * 9 + 1), 4 * (2 * 9 + 1)) and film.n_frames == 5
        whole = np.asarray(sheet)
    run("sample", finished, "--output", tmp_path / "b.png", *options)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    run(
        "sample",
        finished,
        "--output",
        tmp_path / "c.png",
        *options[:4],
        "--seed",
        4,
        "--count",
        1,
        "--class",
        "파랑",
    )
    with Image.open(tmp_path / "c.png") as one:  # The same seed and class alone: the cell of the sheet.
        cell, other = (whole[4 * 9 : 4 * 19, 4 * left : 4 * (left + 10)].astype(int) for left in (9, 0))
        assert np.abs(np.asarray(one) - cell).max() <= 1  # one level where oneDNN does not compute
        assert np.abs(cell - other).max() > 20  # another seed


def test_guidances_are_rows(run, loaded_once, finished, tmp_path):
    command = ["sample", finished, "--steps", 2, "--count", 2, "--output"]
    run(*command, tmp_path / "a.png", "--guidance", 0, 3)
    run(*command, tmp_path / "b.png", "--guidance", 3)
    with Image.open(tmp_path / "a.png") as both, Image.open(tmp_path / "b.png") as one:
        both, one = np.asarray(both), np.asarray(one)
    row = 4 * 9
    for label in range(2):  # class by class, the second row of each is guidance 3
        rows = both[(2 * label + 1) * row :][:row].astype(int), one[label * row :][:row]
        np.testing.assert_allclose(*rows, atol=1)


def test_evaluate_writes_report_and_pictures(run, evaluated, monkeypatch):
    model, output, told = evaluated
    assert "프레셰 거리" in told and " ± " in told
    numbers = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert numbers["judge"] > 0.8 and 0 <= numbers["copies"] <= 1 and numbers["error"] > 0
    for name in ("pictures.png", "neighbours.png"):
        with Image.open(output / name) as figure:
            assert figure.width > 100
    assert set(storage.read_card(model)["files"]) == {"weights.npz", "judge.npz"}
    monkeypatch.setattr(evaluation, "train_judge", None)  # It is kept.
    data = pictures.load(storage.read_card(model)["data"], 8)
    _, guesses = evaluation.look(evaluation.load_judge(model, data), data.test)
    assert np.mean(guesses == data.test_labels) == numbers["judge"]
    _, _, err = run("evaluate", model, "--data", "mnist", "--output", output)
    assert "클래스나 색이 모델과 다르니 학습한 데이터를 --data로 주세요." in err


def test_mistakes_have_one_sentence(run, finished, loaded, folder, tmp_path, arguments, monkeypatch):
    broken = tmp_path / "깨짐"
    shutil.copytree(finished, broken)
    (broken / "weights.npz").write_bytes(b"broken")
    picture = ("--output", tmp_path / "a.png")
    for command, part in (
        (["sample", tmp_path / "없음", *picture], "모델 폴더"),
        (["sample", tmp_path, *picture], "모델이 없으니 train을"),
        (["sample", broken, *picture], "저장한 때와 다르니 원본을 복사하거나"),
        (["sample", finished, *picture, "--class", "노랑"], "클래스 '노랑'은(는) 모르니 빨강, 파랑"),
        (["sample", finished, *picture, "--seed", -1], "시드 -1"),
        (["sample", finished, *picture, "--guidance", 99], "가이던스 99"),
        (["sample", finished, *picture, "--steps", 2000], "스텝 2000"),
        (["train", folder, "--output", finished, *arguments], "학습을 마친 모델이 있으니"),
        (["train", tmp_path / "없음", "--output", finished, *arguments], "폴더를 열 수 없으니"),
        (["train", folder, "--output", tmp_path / "m", "--side", "100"], "side=100"),
    ):
        status, out, err = run(*command)
        lines = [line for line in err.splitlines() if not line.startswith(("건너뛴", "  "))]
        assert status == 1 and len(lines) == 1 and part in lines[0] and lines[0].endswith("."), err
    (broken / "model.json").write_text("{}", encoding="utf-8")
    assert "깨졌으니 train을 --restart로" in run("sample", broken, *picture)[2]
    monkeypatch.setattr(storage, "load_painter", lambda folder: loaded)
    (tmp_path / "파일").write_text("x")
    assert "쓸 수 없으니" in run("sample", finished, "--steps", 2, "--output", tmp_path / "파일" / "a.png")[2]
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["train", "mnist"], ["sample"], ["sample", "--output", "a", "--steps", "0"],
     ["sample", "--output", "a", "--sampler", "euler"], ["serve", "--port", "99999"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_is_korean(capsys):
    for arguments in (["--help"], ["sample", "-h"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "도움말" in out and "options:" not in out


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    from diffusion_image_gen import commands

    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupt)
    assert main(["train", "mnist", "--output", "b"]) == 130
    assert "같은 명령을 다시 실행하세요" in capsys.readouterr().err
