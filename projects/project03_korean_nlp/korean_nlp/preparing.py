"""``prepare``: texts to a folder of records, by several processes, or by Apache Beam.

One process reads, cleans and finds near-duplicates, while the others start their analyser; then each of those makes
whole shards, one after the other. A shard is written in one step, so that a killed run is gone on with: what is whole
is kept, and the rest is made from the same items.
"""

import argparse
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from korean_nlp import cleaning, duplicates, morphemes, pool, reading, records, sources, steps
from korean_nlp.steps import BAD, DUPLICATES
from tf_study import cli
from tf_study.errors import StudyError

WORK, LOCK, STATE = ".work", ".lock", "state.json"
BATCH = 256  # texts analysed at once
PROCESSES = 4  # by default at most: an analyser takes up to 520 MB


def run(options: argparse.Namespace) -> None:
    """Prepare texts and say what came of it; or compare the analysers."""
    if options.compare:
        print(compare(options))
        return
    if options.runner:
        from korean_nlp import submitting

        print(table(submitting.submit(options)))
        return
    begun = time.perf_counter()
    found, seconds, workers = prepare(options)
    print(table(found))
    if workers:
        done = sum(shard["records"] for shard in workers)
        print(
            f"프로세스 {processes(options)}개가 준비된 뒤 {seconds:.1f}초, 1초에 {done / seconds:,.0f}개. "
            f"형태소 분석의 CPU {sum(shard['cpu'] for shard in workers):.1f}초, 모두 {time.perf_counter() - begun:.1f}초."
        )


def prepare(options: argparse.Namespace) -> tuple[dict, float, list[dict]]:
    """Prepare texts, or go on where a killed run was.

    Returns:
        The manifest; how long the shards took, from when the processes were ready; what was made now of each shard.

    Raises:
        StudyError: if something cannot be read or written, or the folder holds something else.
    """
    folder, work = Path(options.output), Path(options.output) / WORK
    chosen = settings(options)
    with cli.locked(folder / LOCK, "다른 프로세스가 이 폴더에 쓰고 있어 끝나기를 기다립니다.") as lock:
        refuse(folder, options.restart)
        if options.restart:
            shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(exist_ok=True)
            with pool.Workers(processes(options), morphemes.Tagger, options.tagger, lock) as workers:
                items = _read(options, chosen, work)
                finished = _finished(folder, work, items, chosen)
                tasks = [task for task in items.tasks(folder, work) if task["number"] not in finished]
                workers.ready()
                ready, made = time.perf_counter(), []
                left = items.kept - sum(shard["records"] for shard in finished.values())
                with tqdm(None, "형태소", left, unit="글", disable=None) as bar:
                    for news in workers.run(_make_shard, tasks):
                        if isinstance(news, int):
                            bar.update(news)
                        else:
                            made.append(news)
                seconds = time.perf_counter() - ready
        except OSError as error:
            raise StudyError(
                f"{folder}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({error.strerror or error})."
            ) from None
        finally:
            if not (work / STATE).exists():  # There is nothing to go on with.
                shutil.rmtree(work, ignore_errors=True)
        for name in (BAD, DUPLICATES):
            os.replace(work / name, folder / name)
        shards = sorted([*finished.values(), *made], key=lambda shard: shard["name"])
        found = records.manifest(
            chosen, items.sources, tagger(options), shards, items.bad, items.duplicates
        )  # fmt: skip
        cli.write_text(folder / records.MANIFEST, records.as_text(found))
        shutil.rmtree(work)
    return found, seconds, made


def settings(options: argparse.Namespace) -> dict:
    """Return what decides which records come out, as JSON gives it back."""
    return {
        "part": options.part,
        "columns": asdict(columns(options)),
        "encoding": options.encoding,
        "tagger": options.tagger,
        "cleaning": cleaning.VERSION,
        "duplicates": options.duplicates,
        "shards": options.shards,
    }


def columns(options: argparse.Namespace) -> reading.Columns:
    """Return the columns that the command line names."""
    return reading.Columns(*(getattr(options, f"{role}_column") for role in ("text", "label", "date", "id")))


def tagger(options: argparse.Namespace) -> dict:
    """Return what the manifest says of the analyser."""
    return {"name": options.tagger, "version": morphemes.version(options.tagger)}


def processes(options: argparse.Namespace) -> int:
    """Return how many processes analyse."""
    return options.processes or min(os.cpu_count() or 1, PROCESSES)


def refuse(folder: Path, restart: bool) -> None:
    """Raise a StudyError if a folder holds a finished run and is not to be made again."""
    if not restart and (folder / records.MANIFEST).exists():
        raise StudyError(steps.finished(str(folder)))


def clear(folder: Path) -> None:
    """Remove what an earlier run made, the manifest first: without it, it is no finished folder."""
    for path in [folder / records.MANIFEST, *folder.glob(records.SHARDS), folder / BAD, folder / DUPLICATES]:
        path.unlink(missing_ok=True)


def table(found: dict) -> str:
    """Return what a manifest counts, as text."""
    names = {"": "(주제 없음)"}
    rows = [
        ("읽은 글", found["records"] + found["bad"] + found["duplicates"]),
        (f"쓸 수 없는 줄 ({BAD})", found["bad"]),
        (f"앞의 글과 비슷해 뺀 글 ({DUPLICATES})", found["duplicates"]),
        ("저장한 글", found["records"]),
        *((f"  {names.get(name, name)}", count) for name, count in found["labels"].items()),
        ("형태소", found["morphemes"]),
        ("파일", len(found["shards"])),
    ]
    if found["undated"]:
        rows.append(("날짜를 읽지 못한 글", found["undated"]))
    lines = [("센 것", "수"), *((name, f"{count:,}") for name, count in rows)]
    if found["dates"]:
        lines.append(("날짜", " ~ ".join(found["dates"])))
    return cli.table(lines)


def compare(options: argparse.Namespace) -> str:
    """Return a table of what each analyser does with the first texts."""
    with tempfile.TemporaryDirectory() as name:
        files = sources.gather(options.sources, options.part, options.encoding, Path(name))
        items = (item for item in steps.read_all(files, columns(options)) if "text" in item)
        texts = [cleaning.clean(item["text"]) for item in islice(items, options.compare)]
    if not texts:
        raise StudyError(steps.nothing(files))
    rows = [("분석기", "시작 CPU초", "글/CPU초", "형태소/글", "태그", "어떤 것", "태그의 이름")]
    examples = []
    with tempfile.TemporaryDirectory() as name, cli.locked(Path(name) / LOCK, "") as lock:
        for known, about in morphemes.ANALYSERS.items():
            with pool.Workers(1, str, known, lock) as workers:  # Each in a process of its own, one at a time.
                (told,) = workers.run(_measure, [texts])
            rows.append(
                (known, f"{told['start']:.1f}", f"{told['rate']:,.0f}", f"{told['morphemes']:.1f}", str(len(told["tags"])), about.about, about.tags)
            )  # fmt: skip
            examples.append(f"{known}: {' '.join(told['example'])}")
    return "\n".join([f"글 {len(texts):,}개", cli.table(rows), texts[0], *examples])


def _measure(name: str, texts: list[str]) -> Iterator[dict]:
    yield morphemes.measure(name, texts)


# Reading


@dataclass
class Items:
    """What was read: one file of JSON lines, and where in it the items of each shard are.

    ``places``: uint64 (N, 2), beginning and end in the file. ``shards``: the shard of each. Those of dropped items
    are not among them.
    """

    path: Path
    digest: str
    sources: list[str]
    places: np.ndarray
    shards: np.ndarray
    count: int
    bad: int
    duplicates: int

    @property
    def kept(self) -> int:
        return len(self.places)

    def tasks(self, folder: Path, work: Path) -> list[dict]:
        """Return what :func:`_make_shard` is given for each shard, the longest first."""
        tasks = [
            {
                "number": number,
                "file": folder / records.shard_name(number, self.count),
                "told": work / f"{number}.json",
                "items": self.path,
                "places": self.places[self.shards == number],
            }
            for number in range(self.count)
        ]
        return sorted(tasks, key=lambda task: -len(task["places"]))


def _read(options: argparse.Namespace, chosen: dict, work: Path) -> Items:
    """Read and clean everything, write aside what is left out, and return the rest."""
    files = sources.gather(options.sources, options.part, options.encoding, work)
    digest, place, bad, threshold = hashlib.sha256(), 0, 0, chosen["duplicates"]
    ends, shards, prints, banded, waiting = array("Q"), array("L"), [], [], []

    def look() -> None:
        prints.append(np.array([np.frombuffer(duplicates.fingerprint(text), np.uint64) for text in waiting]))
        banded.append(duplicates.bands(waiting, threshold))
        waiting.clear()

    path = work / "items.jsonl"
    with open(path, "wb") as kept, open(work / BAD, "w", encoding="utf-8") as aside:
        items = steps.read_all(files, columns(options))
        for item in tqdm(items, "읽기", unit="글", disable=None, leave=False):
            if "reason" in item:
                bad += 1
                aside.write(steps.as_line(item))
                continue
            line = steps.as_line(item).encode()
            kept.write(line)
            digest.update(line)
            place += len(line)
            ends.append(place)
            shards.append(records.shard_of(item["id"], chosen["shards"]))
            if threshold:
                waiting.append(steps.letters(item))
                if len(waiting) == 4096:
                    look()
        if waiting:
            look()
    if not ends:
        raise StudyError(steps.nothing(files))
    stops = np.frombuffer(ends, np.uint64)
    places = np.stack([np.append(np.zeros(1, np.uint64), stops[:-1]), stops], 1)
    dropped: dict[int, int] = {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:

        def item_at(number: int) -> dict:
            return json.loads(content[places[number, 0] : places[number, 1]])

        if threshold:
            dropped = duplicates.find(
                np.concatenate(prints), np.concatenate(banded), threshold,
                lambda number: steps.letters(item_at(number)),
            )  # fmt: skip
        with open(work / DUPLICATES, "w", encoding="utf-8") as aside:
            for later, earlier in sorted(dropped.items()):
                aside.write(steps.as_line(steps.duplicate(item_at(later), item_at(earlier))))
    stay = np.ones(len(places), bool)
    stay[list(dropped)] = False
    names = [file.name for file in files]
    return Items(
        path,
        digest.hexdigest(),
        names,
        places[stay],
        np.array(shards)[stay],
        chosen["shards"],
        bad,
        len(dropped),
    )


# Shards


def _finished(folder: Path, work: Path, items: Items, chosen: dict) -> dict[int, dict]:
    """Return what is known of the shards that a killed run has made whole; note what is made now.

    Raises:
        StudyError: if that run had other settings or texts.
    """
    state = {"settings": chosen, "items": items.digest, "sources": items.sources}
    path = work / STATE
    if not path.exists():
        clear(folder)  # only now that there is something new
        cli.write_text(path, json.dumps(state))
        return {}
    if json.loads(path.read_text(encoding="utf-8")) != state:
        raise StudyError(
            f"{folder}에 다른 설정이나 자료로 하던 것이 있으니 그대로 잇거나 --restart로 다시 만드세요."
        )
    found = {}
    for told in work.glob("*.json"):
        if told.stem.isdigit():
            shard = json.loads(told.read_text(encoding="utf-8"))
            if records.is_whole(folder / shard["name"], shard["sha256"]):
                found[int(told.stem)] = shard
    print(f"온전한 파일 {len(found)}개를 두고 나머지 {items.count - len(found)}개를 만듭니다.", flush=True)
    return found


def _make_shard(tagger: morphemes.Tagger, task: dict) -> Iterator[int | dict]:
    """Make one shard: yield how many texts were analysed, again and again, at last what is known of the shard."""
    begun, made, examples = time.process_time(), [], []
    with open(task["items"], "rb") as file:
        places = task["places"].tolist()
        for first in range(0, len(places), BATCH):
            items = []
            for start, end in places[first : first + BATCH]:
                file.seek(start)
                items.append(json.loads(file.read(end - start)))
            for item in steps.analysed(tagger, items):
                examples.append(records.encode(item))
                made.append(steps.counted(item))
            yield len(items)
    content = records.pack(examples)
    told = records.describe(task["file"].name, content, made)
    cli.write(task["file"], lambda part: part.write_bytes(content))
    cli.write_text(task["told"], json.dumps(told, ensure_ascii=False))
    yield told | {"cpu": time.process_time() - begun}
