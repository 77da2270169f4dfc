"""What ``prepare`` is told to read, as files in their reading order."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from korean_nlp import reading
from tf_study import cli
from tf_study.errors import StudyError

EMBEDDED, YNAT, STDIN = "embedded", "ynat", "-"
YNAT_NAMES = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")  # of the labels 0 to 6
YNAT_FILES = {
    "train": "ynat-v1.1_train.json",
    "test": "ynat-v1.1_dev.json",
}  # in the benchmark's own repository
YNAT_SPLITS = {"train": "train", "test": "validation"}  # on the hub; the test set's labels are not published
HUB_TIMEOUT = 10.0  # seconds in which the hub says whether it is there


def gather(given: list[str], part: str, encoding: str | None, folder: Path) -> list[reading.Source]:
    """Return the files to be read. What is no file yet becomes one in ``folder``.

    Args:
        given: names of sets, files, folders, or ``-``.
        part: of the sets, ``train`` or ``test``.
        encoding: of the files; ``None`` tells it from each.

    Raises:
        StudyError: if one is not there or there is no file in it.
    """
    found, skipped = [], []
    for name in given:
        path = Path(name)
        if name == EMBEDDED:
            found.append((f"{name}/{part}", _written(_embedded(part), folder / f"{name}-{part}.jsonl"), None))
        elif name == YNAT:
            found.append((f"{name}/{part}", _written(_ynat(part), folder / f"{name}-{part}.jsonl"), None))
        elif name == STDIN:
            with open(folder / "stdin", "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            found.append((name, folder / "stdin", encoding))
        elif path.is_dir():
            files, others = reading.files(path)
            if not files:
                raise StudyError(
                    f"{name} 폴더에 읽을 파일이 없으니 {', '.join(reading.KINDS)} 파일을 넣거나 다른 폴더를 주세요."
                )
            found += [(file.as_posix(), file, encoding) for file in files]
            skipped += [(str(file), "글 파일의 이름이 아닙니다.") for file in others]
        elif path.is_file():
            found.append((path.as_posix(), path, encoding))
        else:
            raise StudyError(f"{name}이(가) 없으니 경로를 확인하거나 embedded, ynat, - 가운데 하나를 주세요.")
    cli.print_skipped(skipped)
    if len({os.path.realpath(path) for _, path, _ in found}) < len(found):
        raise StudyError("같은 파일을 두 번 주었으니 한 번만 주세요.")
    return [
        reading.Source(number, name, str(path), encoding)
        for number, (name, path, encoding) in enumerate(found)
    ]


def _written(rows: Iterator[dict], path: Path) -> Path:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


def _embedded(part: str) -> Iterator[dict]:
    from tf_study import data

    texts, labels = data.topics_ko()[part == "test"]
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        yield {"id": f"embedded/{part}:{number}", "text": text, "label": data.TOPICS[label]}


def _ynat(part: str) -> Iterator[dict]:
    """Yield KLUE-YNAT's headlines (S. Park et al., 2021; CC BY-SA 4.0), from a local copy or the hub.

    Raises:
        StudyError: if it cannot be had.
    """
    from tf_study.data import fetch

    own = fetch.own_folder()
    for path in (own / "ynat" / YNAT_FILES[part], own / YNAT_FILES[part]) if own else ():
        if path.is_file():
            try:
                rows = json.loads(path.read_text(encoding="utf-8"))
                yield from [
                    {"id": row["guid"], "text": row["title"], "label": row["label"], "date": row["date"]}
                    for row in rows
                ]
            except (OSError, ValueError, KeyError, TypeError):
                raise fetch.damaged(path) from None
            return
    here = f"{YNAT_FILES[part]} 파일을 {fetch.DATA_VARIABLE} 폴더에 두세요"
    try:
        rows = _from_hub(YNAT_SPLITS[part])
    except ModuleNotFoundError:
        raise StudyError(
            f"KLUE-YNAT을 받는 datasets 패키지가 없으니 make advanced로 설치하거나 {here}."
        ) from None
    except (OSError, ValueError) as error:  # The network's errors and the hub's own are of these kinds.
        raise StudyError(
            f"KLUE-YNAT을 허브에서 받지 못했으니({type(error).__name__}) 인터넷 연결을 확인하거나 {here}."
        ) from error
    for row in rows:
        yield {
            "id": row["guid"],
            "text": row["title"],
            "label": YNAT_NAMES[row["label"]],
            "date": row["date"],
        }


def _from_hub(split: str):
    """Return KLUE-YNAT's rows from the hub, or from what ``datasets`` kept of it if the hub cannot be reached.

    The hub is asked once before: ``load_dataset`` would ask six times, with two lines in English each, for 20 seconds.
    """
    import datasets
    from huggingface_hub import HfApi

    before = datasets.config.HF_HUB_OFFLINE
    try:
        HfApi().dataset_info("klue", timeout=HUB_TIMEOUT)
    except OSError:
        datasets.config.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset("klue", "ynat", split=split)
    finally:
        datasets.config.HF_HUB_OFFLINE = before
