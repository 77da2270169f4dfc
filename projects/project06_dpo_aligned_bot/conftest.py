"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import json
from pathlib import Path

import pytest

TRAINING = ("--steps", "40", "--every", "20")


@pytest.fixture(scope="session")
def torch():
    """PyTorch on one thread: the models are small, and threads would wait for each other."""
    reason = "torch, peft, trl은 make advanced가 설치합니다."
    for name in ("peft", "trl"):
        pytest.importorskip(name, reason=reason)
    found = pytest.importorskip("torch", reason=reason)
    found.set_num_threads(1)
    return found


@pytest.fixture(scope="session")
def world(torch):
    """The bot of the small world. Tests must not change it."""
    from aligned_bot import bot

    return bot.load("world")


@pytest.fixture(scope="session")
def world_folder(world, tmp_path_factory):
    """The same as a folder, which is read without TensorFlow. Tests must not change it."""
    folder = tmp_path_factory.mktemp("기준")
    world.model.save_pretrained(folder)
    world.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs(torch, tmp_path_factory):
    """A JSONL file of 240 of the small world's pairs, every second with a given beginning."""
    from aligned_bot import data

    path = tmp_path_factory.mktemp("데이터") / "pairs.jsonl"
    rows = data.load("world").train[:240]
    path.write_text(
        "".join(json.dumps(row.as_json(), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="session")
def trained(torch, tmp_path_factory):
    """The folder of an adapter that 40 steps of DPO have taught manners. Tests must not change it."""
    from aligned_bot.__main__ import main

    folder = tmp_path_factory.mktemp("모델") / "bot"
    assert main(["dpo", "world", "--base", "world", "--output", str(folder), *TRAINING]) == 0
    return folder


@pytest.fixture(scope="session")
def blocked():
    """The example of what no answer may contain."""
    return Path(__file__).parent / "examples" / "blocked.txt"
