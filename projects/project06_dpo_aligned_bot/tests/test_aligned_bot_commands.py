"""The command line: answers, mistakes in one sentence, help in Korean; without PyTorch it says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from aligned_bot import __main__ as program
from aligned_bot.__main__ import main
from project_commands import runner

PROJECT = Path(__file__).resolve().parents[1]


run = runner(main)


def test_data_prints_the_table_and_writes_the_parts(run, tmp_path, torch):
    status, out, err = run("data", "korean", "--output", tmp_path / "나눔")
    assert (status, err) == (0, "") and "읽은 줄                            620" in out
    assert (tmp_path / "나눔" / "train.jsonl").is_file() and "held_out.jsonl" in out
    parts = [
        (tmp_path / "나눔" / name).read_text(encoding="utf-8") for name in ("train.jsonl", "held_out.jsonl")
    ]
    (tmp_path / "a.jsonl").write_text("".join(("{\n", *parts)), encoding="utf-8")
    status, out, err = run("data", tmp_path / "a.jsonl")
    assert status == 0 and err == "건너뛴 것: 1개\n  a.jsonl 1번째 줄: JSON이 아니니 고치세요.\n"


def test_mistakes_have_one_sentence(run, tmp_path, torch):
    output = ("--output", tmp_path / "bot")
    for command, part in (
        (["data", tmp_path / "없음"], "열 수 없으니 world, korean이나"),
        (["dpo", "world", *output, "--base", tmp_path / "없음"], "모델 폴더"),
        (["dpo", "world", *output, "--batch", "0"], "모두 1 이상"),
        (["dpo", "world", *output, "--micro", "5"], "micro 5의 배수"),
        (["sft", "world", *output, "--seed", "-1"], "시드 -1"),
        (["merge", "world", *output], "어댑터가 없으니"),
    ):
        status, out, err = run(*command)
        assert status == 1 and err.count("\n") == 1 and part in err and err.endswith(".\n"), err
    assert not list(tmp_path.glob("bot/*.safetensors"))


def test_without_its_packages_it_says_how_to_get_them(run, monkeypatch):
    monkeypatch.setattr(program, "find_spec", lambda name: None if name in ("torch", "trl") else object())
    assert run("chat", "world") == (1, "", "torch, trl 패키지가 없으니 make advanced로 설치하세요.\n")


def test_help_needs_nothing_heavy():
    code = (
        "import sys; from aligned_bot.__main__ import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'tensorflow', 'transformers', 'numpy', 'matplotlib'} & set(sys.modules); print(heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and "사용법" in done.stdout and done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["dpo"], ["dpo", "world"], ["dpo", "world", "--output", "a", "--steps", "x"], ["merge", "a"],
     ["sft", "world", "--output", "a", "--beta", "1"], ["serve", "world", "--port", "99999"], ["card"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_is_korean(capsys):
    for arguments in (
        ["--help"],
        *([name, "-h"] for name in ("data", "sft", "dpo", "evaluate", "merge", "card", "chat", "serve")),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        out = capsys.readouterr().out
        assert caught.value.code == 0 and "도움말" in out and "options:" not in out


def test_interruption_says_how_to_go_on(monkeypatch, capsys, torch):
    from aligned_bot import commands

    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupt)
    assert main(["dpo", "world", "--output", "b"]) == 130
    assert "같은 명령을 다시 실행하세요" in capsys.readouterr().err
