"""``prepare`` as an Apache Beam pipeline: the functions of one machine, put together for many.

It runs in Beam's own environment, without TensorFlow. Files are read and written by Beam, so that paths may be those of
a storage service. A shard holds the same records in the same order as one machine writes.
"""

import json
import uuid
from collections.abc import Iterable, Iterator
from functools import partial

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from korean_nlp import duplicates, morphemes, reading, records, steps
from tf_study.errors import StudyError

PLAIN = CompressionTypes.UNCOMPRESSED  # We compress ourselves, the same way everywhere.
opened = partial(FileSystems.open, compression_type=PLAIN)


def main(arguments: list[str]) -> None:
    """Run the pipeline that a file describes; the rest of the arguments is Beam's.

    The file that ``result`` names then holds the manifest, or ``error``: what the learner can mend.
    """
    with open(arguments[0], encoding="utf-8") as file:
        told = json.load(file)
    try:
        result = run(told, PipelineOptions(arguments[1:]))
    except StudyError as error:
        result = {"error": str(error)}
    with open(told["result"], "w", encoding="utf-8") as file:
        json.dump(result, file)


def run(told: dict, options: PipelineOptions) -> dict:
    """Run the pipeline, write the manifest and return it.

    Args:
        told: ``sources``, ``settings``, ``tagger``, ``output``, ``restart``.
        options: of Beam.

    Raises:
        StudyError: if a file cannot be read or nothing in them can be used.
    """
    files = [reading.Source(**file) for file in told["sources"]]
    chosen, output = told["settings"], told["output"]
    columns = reading.Columns(**chosen["columns"])
    for file in files:  # A wrong column is said here, not by a worker.
        next(reading.read(file, columns, opened), None)
    _start_over(output, told["restart"])
    names = {part: f"{output}/{part}" for part in (steps.BAD, steps.DUPLICATES)} | {
        "the shards": f"{output}/.shards.jsonl"
    }
    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | beam.Create(files)
            | "spread files" >> beam.Reshuffle()
            | "read" >> beam.FlatMap(partial(_read, columns)).with_outputs("bad", main="items")
        )
        kept, dropped = read["items"], pipeline | "none dropped" >> beam.Create([])
        if chosen["duplicates"]:
            kept, dropped = _without_duplicates(kept, chosen["duplicates"])
        empty = pipeline | "every shard" >> beam.Create(
            [(number, None) for number in range(chosen["shards"])]
        )
        analysed = (
            kept
            | "spread items" >> beam.Reshuffle()
            | beam.BatchElements(min_batch_size=1, max_batch_size=256)
            | "analyse" >> beam.ParDo(Analyse(chosen["tagger"], chosen["shards"]))
        )
        shards = (
            (analysed, empty)
            | "items and shards" >> beam.Flatten()
            | "shards" >> beam.GroupByKey()
            | "make shards" >> beam.MapTuple(partial(_write_shard, output, chosen["shards"]))
        )
        for name, lines in ((steps.BAD, read["bad"]), (steps.DUPLICATES, dropped), ("the shards", shards)):
            none = pipeline | f"no {name}" >> beam.Create([(0, None)])
            (
                (lines | f"one key of {name}" >> beam.Map(lambda line: (0, line)), none)
                | f"with no {name}" >> beam.Flatten()
                | f"all {name}" >> beam.GroupByKey()
                | f"write {name}" >> beam.MapTuple(partial(_write_lines, names[name]))
            )
    bad, dropped, shards = (_lines(names[name]) for name in (steps.BAD, steps.DUPLICATES, "the shards"))
    FileSystems.delete([names["the shards"]])
    shards.sort(key=lambda shard: shard["name"])
    found = records.manifest(
        chosen, [file.name for file in files], told["tagger"], shards, len(bad), len(dropped)
    )
    if not found["records"]:
        raise StudyError(steps.nothing(files))
    _write(f"{output}/{records.MANIFEST}", records.as_text(found).encode())
    return found


def _start_over(output: str, restart: bool) -> None:
    """Empty a folder of an earlier run, the manifest first: without it, it is no finished folder.

    Raises:
        StudyError: if it holds a finished one and is not to be made again.
    """
    manifest = f"{output}/{records.MANIFEST}"
    if FileSystems.exists(manifest):
        if not restart:
            raise StudyError(steps.finished(output))
        FileSystems.delete([manifest])
    (found,) = FileSystems.match([f"{output}/{records.SHARDS}"])
    if found.metadata_list:
        FileSystems.delete([shard.path for shard in found.metadata_list])


def _read(columns: reading.Columns, file: reading.Source) -> Iterator:
    for item in steps.read_all([file], columns, opened=opened):
        yield beam.pvalue.TaggedOutput("bad", item) if "reason" in item else item


# Near-duplicates: :func:`korean_nlp.duplicates.find` by keys


def _without_duplicates(found, threshold: float):
    """Return the items that stay, and the lines about those that are dropped."""
    firsts = (
        found
        | "by triples" >> beam.Map(lambda item: (duplicates.fingerprint(steps.letters(item)), item))
        | "the same triples" >> beam.GroupByKey()
        | "first of them" >> beam.MapTuple(lambda _, same: _first(same))
    )
    likes = (
        firsts
        | "batches of firsts" >> beam.BatchElements(min_batch_size=64, max_batch_size=4096)
        | "bands" >> beam.FlatMap(partial(_banded, threshold))
        | "buckets" >> beam.GroupByKey()
        | "alike" >> beam.FlatMapTuple(partial(_alike, threshold))
        | "earliest" >> beam.CombinePerKey(_earliest)
    )
    decided = (
        {"firsts": firsts, "likes": likes}
        | "firsts and their likes" >> beam.CoGroupByKey()
        | "decide" >> beam.FlatMapTuple(_decide).with_outputs("dropped", main="kept")
    )
    return decided["kept"], decided["dropped"]


def _first(same: Iterable[dict]) -> tuple[tuple, list[dict]]:
    ordered = sorted(same, key=lambda item: item["order"])
    return tuple(ordered[0]["order"]), ordered


def _banded(threshold: float, firsts: list[tuple[tuple, list[dict]]]) -> Iterator[tuple[tuple, dict]]:
    banded = duplicates.bands([steps.letters(same[0]) for _, same in firsts], threshold)
    for (_, same), row in zip(firsts, banded.tolist(), strict=True):
        for column, value in enumerate(row):
            yield (column, value), same[0]


def _alike(threshold: float, key: tuple, bucket: Iterable[dict]) -> Iterator[tuple[tuple, dict]]:
    ordered = sorted(bucket, key=lambda item: item["order"])
    for later, earlier in duplicates.earliest(ordered, threshold, steps.letters):
        yield tuple(later["order"]), earlier


def _earliest(likes: Iterable[dict]) -> dict:
    return min(likes, key=lambda item: item["order"])


def _decide(order: tuple, joined: dict) -> Iterator:
    (same,), likes = joined["firsts"], list(joined["likes"])
    if not likes:
        yield same[0]
    like = likes[0] if likes else same[0]
    for item in same if likes else same[1:]:
        yield beam.pvalue.TaggedOutput("dropped", steps.duplicate(item, like))


# Morphemes and shards


class Analyse(beam.DoFn):
    """Batches of items to their shards' numbers, orders and examples, and what is counted of them."""

    def __init__(self, name: str, shards: int):
        self.name, self.shards = name, shards

    def setup(self):
        self.tagger = morphemes.Tagger(self.name)

    def process(self, batch: list[dict]) -> Iterator[tuple[int, dict]]:
        for item in steps.analysed(self.tagger, batch):
            number = records.shard_of(item["id"], self.shards)
            yield number, {"order": item["order"], "example": records.encode(item)} | steps.counted(item)


def _write_shard(output: str, count: int, number: int, found: Iterable[dict | None]) -> dict:
    ordered = sorted(filter(None, found), key=lambda item: item["order"])
    name = records.shard_name(number, count)
    content = records.pack(item["example"] for item in ordered)
    _write(f"{output}/{name}", content)
    return records.describe(name, content, ordered)


def _write_lines(path: str, key: int, lines: Iterable[dict | None]) -> None:
    ordered = sorted(filter(None, lines), key=lambda line: line.get("order", line.get("name")))
    _write(path, "".join(map(steps.as_line, ordered)).encode())


def _write(path: str, content: bytes) -> None:
    """Write a file in one step, over one that an earlier attempt has left."""
    part = f"{path}.{uuid.uuid4().hex}.part"
    with FileSystems.create(part, compression_type=PLAIN) as file:
        file.write(content)
    if FileSystems.exists(path):
        FileSystems.delete([path])
    FileSystems.rename([part], [path])


def _lines(path: str) -> list[dict]:
    with opened(path) as file:
        return [json.loads(line) for line in file.read().splitlines()]
