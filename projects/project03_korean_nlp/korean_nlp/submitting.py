"""``prepare --runner``: what the Apache Beam pipeline is told, and its start in the environment that has Beam.

Beam's pins differ from the course's, so it has an environment of its own, beside the course's. The pipeline itself is
:mod:`korean_nlp.beam`.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from korean_nlp import preparing, reading, sources
from tf_study import cli
from tf_study.errors import StudyError

CLOUD = "DataflowRunner"
# What DirectRunner runs here in the end. First it would fetch another program, Prism, and try that.
LOCAL = {"DirectRunner": "FnApiRunner"}
# As a module of that name, which workers find, and not as __main__; without what Beam's import warns of.
START = (
    "import logging, sys; logging.getLogger().setLevel(logging.ERROR); "
    "from korean_nlp import beam; beam.main(sys.argv[1:])"
)


def python(given: Path | None = None) -> Path:
    """Return the Python that has Beam.

    Raises:
        StudyError: if it is not there.
    """
    found = given or Path(f"{sys.prefix}-beam") / "bin" / "python"
    if not found.exists():
        raise StudyError(
            f"Apache Beam이 설치된 {found}이(가) 없으니 make beam으로 설치하거나 --beam-python으로 알려 주세요."
        )
    return found


def submit(options: argparse.Namespace) -> dict:
    """Run the pipeline to its end and return the manifest that it wrote.

    Raises:
        StudyError: if there is no Beam, something cannot be read or written, or the pipeline fails.
    """
    here = [name for name in (*options.sources, options.output) if not is_address(name)]
    if options.runner == CLOUD and here:
        raise StudyError(
            f"{CLOUD}의 컴퓨터들은 여기의 파일을 보지 못하니 {here[0]} 대신 gs://로 시작하는 주소를 주세요."
        )
    program = python(options.beam_python)
    if is_address(options.output):
        with tempfile.TemporaryDirectory() as work:
            return _run(program, options, Path(work))
    folder = Path(options.output)
    with cli.locked(folder / preparing.LOCK, "다른 프로세스가 이 폴더에 쓰고 있어 끝나기를 기다립니다."):
        work = folder / preparing.WORK
        shutil.rmtree(
            work, ignore_errors=True
        )  # There is no going on here: what failed, the runner tries again.
        work.mkdir()
        try:
            return _run(program, options, work)
        finally:
            shutil.rmtree(work)


def is_address(path: str) -> bool:
    """Return whether a path is one of a storage service, such as ``gs://bucket/folder``."""
    return "://" in path


def _run(program: Path, options: argparse.Namespace, work: Path) -> dict:
    given = [name for name in options.sources if not is_address(name)]
    files = sources.gather(given, options.part, options.encoding, work) if given else []
    for name in filter(is_address, options.sources):
        files.append(reading.Source(len(files), name, name, options.encoding))
    told = {
        "sources": [asdict(file) for file in files],
        "settings": preparing.settings(options),
        "tagger": preparing.tagger(options),
        "output": options.output if is_address(options.output) else str(Path(options.output).absolute()),
        "restart": options.restart,
        "result": str(work / "result.json"),
    }
    config = work / "beam.json"
    cli.write_text(config, json.dumps(told))
    roots = [str(Path(__file__).parents[1]), str(Path(cli.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(roots)}
    runner = LOCAL.get(options.runner, options.runner)
    command = [program, "-c", START, config, f"--runner={runner}", *shlex.split(options.beam_options)]
    status = subprocess.run(command, env=environment).returncode
    try:
        result = json.loads(Path(told["result"]).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(
            f"Beam의 {options.runner}이(가) 끝까지 처리하지 못했으니(상태 {status}) 위의 오류를 고치고 다시 실행하세요."
        ) from None
    if "error" in result:
        raise StudyError(result["error"])
    return result
