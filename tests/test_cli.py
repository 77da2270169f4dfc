import argparse
import signal
import subprocess
import sys
import time

import pytest

from tf_study import cli
from tf_study.errors import StudyError


def small(value):
    if int(value) > 9:
        raise argparse.ArgumentTypeError("9 이하여야 합니다")
    return int(value)


def parser():
    main = cli.Parser(prog="program", description="시험")
    command = main.commands(dest="command", required=True).add_parser("go", help="갑니다")
    command.add_argument("place", metavar="곳")
    command.add_argument("--kind", choices=["a", "b"])
    command.add_argument("--count", type=int)
    command.add_argument("--small", type=small)
    command.add_argument("--two", nargs=2)
    command.add_argument("--some", nargs="+")
    command.add_argument("--share", type=float)
    command.add_argument("--flag", action="store_true")
    return main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "빠진 인수: 명령"),
        (["fly"], "명령에 'fly' 대신 쓸 수 있는 것: 'go'"),
        (["go"], "빠진 인수: 곳"),
        (["go", "x", "y"], "모르는 인수: y"),
        (["go", "x", "--s", "y"], "--s의 뜻이 여럿: --small, --some, --share"),
        (["go", "x", "--kind", "c"], "--kind에 'c' 대신 쓸 수 있는 것: 'a', 'b'"),
        (["go", "x", "--kind"], "--kind의 값은 1개"),
        (["go", "x", "--two", "1"], "--two의 값은 2개"),
        (["go", "x", "--some"], "--some의 값은 1개 이상"),
        (["go", "x", "--flag=1"], "--flag에는 값 '1'을(를) 줄 수 없음"),
        (["go", "x", "--count", "c"], "--count은(는) 정수여야 하는데 'c'"),
        (["go", "x", "--share", "c"], "--share은(는) 수여야 하는데 'c'"),
        (["go", "x", "--small", "c"], "--small에 쓸 수 없는 값 'c'"),
        (["go", "x", "--small", "10"], "--small: 9 이하여야 합니다"),
    ],
)
def test_wrong_arguments_are_said_in_korean(arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(arguments)
    usage, *rest, sentence = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and usage.startswith("사용법: program")
    assert sentence.startswith("인수가 잘못되었으니 program") and sentence.endswith(f"({said}).")


@pytest.mark.parametrize("arguments", [["-h"], ["go", "--help"]])
def test_help_is_korean(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(arguments)
    out = capsys.readouterr().out
    assert caught.value.code == 0 and out.startswith("사용법: ") and "이 도움말을" in out
    assert not {"usage:", "options:", "positional", "show this"} & set(out.split("\n") + out.split(" "))


def test_run_turns_how_a_program_ends_into_an_exit_status(capsys):
    def fail():
        raise StudyError("한 문장.")

    def interrupt():
        raise KeyboardInterrupt

    assert cli.run(lambda: None) == 0 and cli.run(lambda: 3) == 3
    assert capsys.readouterr() == ("", "")
    assert cli.run(fail) == 1
    assert capsys.readouterr() == ("", "한 문장.\n")
    assert cli.run(interrupt, "이어서 하세요.") == 130
    assert capsys.readouterr() == ("", "\n이어서 하세요.\n")
    with pytest.raises(ZeroDivisionError):  # A fault of the program is shown as one.
        cli.run(lambda: 1 / 0)


def test_a_reader_who_has_enough_is_no_error():
    code = "from tf_study import cli; raise SystemExit(cli.run(lambda: print('x' * 1_000_000)))"
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.close()
    assert program.stderr.read() == b"" and program.wait() == 0
    program.stderr.close()


def test_a_table_counts_hangul_as_two_columns():
    rows = [("이름", "값"), ("a", "1"), ("가나다", "22")]
    assert cli.table(rows) == "이름    값\na       1\n가나다  22"
    assert cli.table(rows[1:2], widths=(4, 0)) == "a     1"


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "새 폴더" / "a.txt"

    def half(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    def killed(part):
        part.write_text("half")
        raise KeyboardInterrupt

    cli.write(path, lambda part: part.write_text("old"))
    with pytest.raises(StudyError, match="남은 공간을 확인하세요"):
        cli.write(path, half)
    with pytest.raises(KeyboardInterrupt):
        cli.write(path, killed)
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"] and path.read_text() == "old"
    with pytest.raises(StudyError, match="쓸 수 없으니"):
        cli.write(path / "b.txt", lambda part: part.write_text("new"))


LOCK = """
import pathlib, sys, time
from tf_study import cli
with cli.locked(pathlib.Path(sys.argv[1]), "기다립니다."):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_waited_for_and_goes_with_its_process(tmp_path, capsys):
    path = tmp_path / "folder" / "lock"
    command = [sys.executable, "-c", LOCK, str(path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "in\n"
    waiter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert waiter.stdout.readline() == "기다립니다.\n"
    time.sleep(0.2)
    assert waiter.poll() is None
    holder.kill()
    assert waiter.stdout.readline() == "in\n"
    waiter.kill()
    for process in (holder, waiter):
        process.wait()
        process.stdout.close()
    with cli.locked(path, "기다립니다."):
        assert capsys.readouterr().out == ""
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="쓸 수 없으니"), cli.locked(tmp_path / "file" / "lock", ""):
        pass


def test_signals_wait_while_processes_are_spawned():
    def blocked():
        return signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}

    with pytest.raises(KeyError), cli.shielded(signal.SIGINT, signal.SIGTERM):
        assert blocked() == {signal.SIGINT, signal.SIGTERM}
        raise KeyError
    assert not blocked()
