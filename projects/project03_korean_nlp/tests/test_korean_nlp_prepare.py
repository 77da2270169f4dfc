"""prepare: whole folders from messy files, with processes, after a kill, with nothing lost or doubled."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import project_commands
from korean_nlp import morphemes, pool, records
from korean_nlp.__main__ import main
from tf_study import cli, data
from tf_study.errors import StudyError

PROJECT = Path(__file__).resolve().parents[1]
STDIN = '{"text": "비가 온다", "label": "사회"}\n'
run = project_commands.runner(main)


def contents(folder):
    """The files of a folder, but for the empty lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """A folder of files with all kinds of lines: 9 good ones, of which 2 repeat others, and 5 bad ones."""
    folder = tmp_path_factory.mktemp("자료")
    rows = 'title,topic,date\n"물가가 올라 장보기가, ㅋㅋㅋㅋ 겁난다",경제,2026.01.31. 오후 12:05\n칸이 모자람\n물가가 올라 장보기가 ㅋㅋ 겁난다!!,사회,모름\n'
    (folder / "a.csv").write_bytes(rows.encode("cp949"))
    lines = [
        {"text": f"기사 {word}의 내용입니다", "label": "세계", "date": "2026-02-01"} for word in "가나다라마"
    ]
    lines += [{"text": "  "}, {"text": "\u200b"}, {"text": "경기에서 홈런을 쳤다 😀", "label": "스포츠"}]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "b.jsonl").write_text(text + "{깨진 줄\n", encoding="utf-8")
    (folder / "c.txt").write_bytes("물가가 올라 장보기가 ㅋㅋ 겁난다\n".encode() + b"\xff\n")
    return folder


@pytest.fixture(scope="module")
def prepared(messy, tmp_path_factory):
    """What prepare makes of :func:`messy`, and what it said. Tests must not change it."""
    output = tmp_path_factory.mktemp("출력") / "글"
    command = [
        sys.executable,
        "-m",
        "korean_nlp",
        "prepare",
        messy,
        "-",
        "--output",
        output,
        "--shards",
        "3",
        "--processes",
        "2",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, input=STDIN)
    assert done.returncode == 0, done.stderr
    return output, done.stdout, done.stderr


def test_nothing_is_lost(prepared, messy):
    output, out, err = prepared
    assert "a.csv은(는) CP949로 읽습니다." in err and "Traceback" not in err
    found = records.read_manifest(output)
    counts = [found[key] for key in ("records", "bad", "duplicates", "undated")]
    assert counts == [8, 5, 2, 0] and sum(counts[:3]) == 3 + 9 + 2 + 1
    assert [
        line.split()[-1] for line in out.splitlines() if line.startswith(("읽은", "쓸", "앞의", "저장한"))
    ] == ["15", "5", "2", "8"]
    assert found["labels"] == {"경제": 1, "사회": 1, "세계": 5, "스포츠": 1}
    assert found["dates"] == ["2026-01-31", "2026-02-01"] and found["tagger"]["name"] == "kiwi"
    read = {record["id"].removeprefix(f"{messy.as_posix()}/"): record for record in records.read(output)}
    assert sorted(read) == ["-:1", "a.csv:2", *(f"b.jsonl:{number}" for number in (1, 2, 3, 4, 5, 8))]
    assert (
        read["a.csv:2"]["text"] == "물가가 올라 장보기가, ㅋㅋㅋㅋ 겁난다"
        and "ㅋㅋ/SW" in read["a.csv:2"]["morphemes"]
    )
    assert "".join(read["b.jsonl:8"]["morphemes"]).count("W_EMOJI") == 1
    bad = [json.loads(line) for line in (output / "bad.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(item["id"].rpartition("/")[2], item["reason"]) for item in bad] == [
        ("a.csv:3", "칸이 3개가 아니라 1개입니다"), ("b.jsonl:6", "글이 비었습니다"), ("b.jsonl:7", "글이 비었습니다"),
        ("b.jsonl:9", "JSON 객체가 아닙니다"), ("c.txt:2", "글자가 깨졌습니다"),
    ]  # fmt: skip
    dropped = [
        json.loads(line) for line in (output / "duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(item["id"].rpartition("/")[2], item["like"].rpartition("/")[2]) for item in dropped] == [
        ("a.csv:4", "a.csv:2"), ("c.txt:1", "a.csv:2"),
    ]  # fmt: skip
    assert set(contents(output)) == {
        "manifest.json", "bad.jsonl", "duplicates.jsonl", *(shard["name"] for shard in found["shards"]),
    }  # fmt: skip


def test_a_finished_folder_is_kept(run, prepared, here, tmp_path):
    output = prepared[0]
    before = contents(output)
    status, out, err = run("prepare", "embedded", "--output", output)
    assert status == 1 and out == "" and "prepare를 마친 글이 있으니" in err and len(err.splitlines()) == 1
    (tmp_path / "a.csv").write_text("Q,A\n1,2\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("  \n \u200b\n", encoding="utf-8")
    for source, sentence in (
        ("a.csv", "--text-column"),
        ("b.txt", "글을 찾지 못했으니"),
        ("없음", "이(가) 없으니"),
    ):
        status, _, err = run("prepare", tmp_path / source, "--output", output, "--restart", "--processes", 1)
        assert status == 1 and sentence in err
    assert contents(output) == before


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A file of 1,000 different texts."""
    texts = [text for part in data.topics_ko() for text in part[0]]
    path = tmp_path_factory.mktemp("많음") / "글.txt"
    lines = (
        f"{texts[n % len(texts)]} {texts[(7 * n + n // len(texts)) % len(texts)]} {n}" for n in range(1000)
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def arguments(many, output, *more):
    return ["prepare", many, "--output", output, "--shards", 16, "--processes", 1, "--duplicates", 0, *more]


def begin(*command):
    """Start prepare as a program in a process group of its own."""
    command = [sys.executable, "-m", "korean_nlp", *map(str, command)]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=120):
    for _ in range(seconds * 50):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_and_gone_on_with(run, many, here, tmp_path):
    """The program, with an analysing process of its own, is killed; what has to be done besides is done here."""
    whole, output = tmp_path / "온전", tmp_path / "끊김"
    assert run(*arguments(many, whole))[0] == 0
    process = begin(*arguments(many, output))
    told = output / ".work"
    wait_for(lambda: process.poll() is not None or len([*told.glob("[0-9]*.json")]) >= 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not alive(process.pid))  # The analysing process ends by itself.
    assert process.returncode == -signal.SIGKILL and not (output / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in output.glob(records.SHARDS)}
    assert 3 <= len(kept) < 16

    status, _, err = run(*arguments(many, output, "--shards", 5))
    assert status == 1 and "다른 설정이나 자료로" in err
    damaged = max(kept)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    noted = len([*told.glob("[0-9]*.json")])
    status, out, _ = run(*arguments(many, output))
    assert status == 0 and f"온전한 파일 {noted - 1}개를 두고 나머지 {17 - noted}개를" in out
    assert contents(output) == contents(whole)
    same = [path for path in kept if path.stat().st_mtime_ns == kept[path]]
    assert len(same) == noted - 1
    identities = [record["id"] for record in records.read(output)]
    assert len(identities) == len(set(identities)) == 1000


def test_interrupted(many, tmp_path):
    process = begin(*arguments(many, tmp_path / "a"))
    wait_for(lambda: (tmp_path / "a" / ".work" / "state.json").exists())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "\n중단했으니 이어서 하려면 같은 명령을 다시 실행하세요.\n"
    wait_for(lambda: not alive(process.pid))


def test_comparison(run, here, monkeypatch):
    monkeypatch.setattr(morphemes, "ANALYSERS", {"kiwi": morphemes.ANALYSERS["kiwi"]})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("물가가 올랐다\n비가 온다\n".encode())))
    status, out, err = run("prepare", "-", "--compare", 2)
    assert status == 0 and "물가/NNG 가/JKS 오르/VV 었/EP 다/EF" in out and out.startswith("글 2개")


# The processes


def make(argument):
    if argument == "fail":
        raise StudyError("시작하지 못했으니 고치세요.")
    return argument


def work(made, task):
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    yield f"{made}{task}"
    yield os.getpid()


@pytest.fixture
def lock(tmp_path):
    with cli.locked(tmp_path / "lock", "기다립니다.") as descriptor:
        yield descriptor


def test_workers_do_every_task_once(lock):
    with pool.Workers(2, make, "a", lock) as workers:
        workers.ready()
        found = list(workers.run(work, range(20)))
    assert sorted(x for x in found if isinstance(x, str)) == sorted(f"a{n}" for n in range(20))
    assert len({x for x in found if isinstance(x, int)}) == 2


def test_workers_that_fail(lock):
    with pytest.raises(StudyError, match="시작하지 못했으니"), pool.Workers(1, make, "fail", lock) as workers:
        workers.ready()
    with pytest.raises(StudyError, match="갑자기 끝났으니"), pool.Workers(2, make, "a", lock) as workers:
        workers.ready()
        list(workers.run(work, [1, "die", 2, 3]))


# The command line


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["prepare"], ["prepare", "a"], ["prepare", "a", "--output", "b", "--compare", "3"],
     ["prepare", "a", "--output", "b", "--duplicates", "2"], ["prepare", "a", "--output", "b", "--processes", "0"],
     ["prepare", "a", "--output", "b", "--tagger", "mecab"], ["train", "a"], ["predict"], ["report", "a"]],
)  # fmt: skip
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "인수가 잘못되었으니" in capsys.readouterr().err


def test_help_and_mistakes_import_no_tensorflow():
    code = (
        "import sys; from korean_nlp.__main__ import main\n"
        "for command in ('prepare', 'train', 'evaluate', 'predict', 'report'):\n"
        "    for arguments in ([command, '--help'], [command, '--없음']):\n"
        "        try: main(arguments)\n"
        "        except SystemExit: pass\n"
        "print(sorted({'tensorflow', 'numpy', 'konlpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]" and "options:" not in done.stdout
    assert done.stdout.count("이 도움말을 보이고 끝냅니다") == 5 and "invalid" not in done.stderr
