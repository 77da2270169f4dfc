"""A folder of records: ``tf.train.Example`` in compressed TFRecord files, and the manifest that describes them.

A record is a dictionary::

    {"id": "news.csv:17", "text": "원래 글", "date": "2026-01-31", "label": "경제", "morphemes": ["오르/VV", "다/EF"]}

``date`` and ``label`` may be empty. Written without TensorFlow, whose import would cost every process four seconds;
the bytes are those of ``SerializeToString(deterministic=True)`` and of ``tf.io.TFRecordWriter``.
"""

import gzip
import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import google_crc32c

from tf_study.errors import StudyError

MANIFEST, SHARDS = "manifest.json", "part-*-of-*.tfrecord.gz"
FORMAT = 1  # of the manifest and the records
SCHEMA = {"id": "string", "text": "string", "date": "string", "label": "string", "morphemes": "strings"}
_MASK = 0xA282EAD8  # TFRecord's: the checksum of bytes that hold checksums would be weak.


def shard_of(identity: str, shards: int) -> int:
    """Return in which of the shards a record goes; the same on every machine, unlike ``hash``."""
    return google_crc32c.value(identity.encode()) % shards


def shard_name(number: int, shards: int) -> str:
    """Return the name of a shard's file."""
    return f"part-{number:05d}-of-{shards:05d}.tfrecord.gz"


# tf.train.Example: { features: 1 { feature: 1 { key: 1, value: 2 { bytes_list: 1 { value: 1 ... } } } ... } }


def encode(record: Mapping[str, str | list[str]]) -> bytes:
    """Return a record as a ``tf.train.Example``, its keys in order."""
    features = b""
    for key in sorted(SCHEMA):
        value = record[key]
        values = [value] if isinstance(value, str) else value
        feature = _field(1, b"".join(_field(1, text.encode()) for text in values))
        features += _field(1, _field(1, key.encode()) + _field(2, feature))
    return _field(1, features)


def decode(example: bytes) -> dict[str, str | list[str]]:
    """Return the record that :func:`encode` made bytes of."""
    record = {}
    for entry in _fields(next(iter(_fields(example)))):
        key, feature = _fields(entry)
        values = [text.decode() for text in _fields(next(iter(_fields(feature))))]
        record[key.decode()] = values if SCHEMA.get(key.decode()) == "strings" else values[0]
    return record


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _fields(message: bytes) -> Iterator[bytes]:
    """Yield the contents of a message's fields, all length-delimited with numbers of one byte."""
    place = 0
    while place < len(message):
        place += 1  # past the tag
        length = shift = 0
        while message[place] > 127:
            length |= (message[place] & 127) << shift
            place, shift = place + 1, shift + 7
        length |= message[place] << shift
        yield message[place + 1 : place + 1 + length]
        place += 1 + length


# TFRecord: length (8 bytes), its checksum, the content, its checksum


def pack(examples: Iterable[bytes]) -> bytes:
    """Return a shard's file: TFRecord in gzip, without a time, so that equal records make equal files."""
    content = bytearray()
    for example in examples:
        length = struct.pack("<Q", len(example))
        content += length + _checksum(length) + example + _checksum(example)
    return gzip.compress(content, 6, mtime=0)


def unpack(path: Path) -> Iterator[bytes]:
    """Yield the examples of a shard's file.

    Raises:
        StudyError: if it is missing or damaged.
    """
    try:
        with gzip.open(path) as file:
            while head := file.read(12):
                (length,) = struct.unpack("<Q", head[:8])
                if head[8:] != _checksum(head[:8]):
                    raise EOFError
                example, check = file.read(length), file.read(4)
                if check != _checksum(example):
                    raise EOFError
                yield example
    except (OSError, EOFError, struct.error, gzip.zlib.error):
        raise StudyError(f"{path}이(가) 없거나 깨졌으니 prepare를 --restart로 다시 실행하세요.") from None


def _checksum(content: bytes) -> bytes:
    value = google_crc32c.value(bytes(content))
    return struct.pack("<I", ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF)


# What is known of a shard, and of all


def describe(name: str, content: bytes, items: Iterable[Mapping]) -> dict:
    """Return what the manifest says of a shard.

    Args:
        name: of its file.
        content: the file.
        items: what was written; ``undated`` marks those whose date could not be read.
    """
    items = list(items)
    dates = sorted(item["date"] for item in items if item["date"])
    return {
        "name": name,
        "records": len(items),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "morphemes": sum(len(item["morphemes"]) for item in items),
        "labels": dict(sorted(Counter(item["label"] for item in items).items())),
        "dates": [dates[0], dates[-1]] if dates else [],
        "undated": sum(item.get("undated", False) for item in items),
    }


def manifest(
    settings: dict, sources: list[str], tagger: dict, shards: list[dict], bad: int, duplicates: int
) -> dict:
    """Return the manifest of a finished folder.

    Args:
        settings: by which it was made.
        sources: names of what was read.
        tagger: the analyser's ``name`` and ``version``.
        shards: of each what :func:`describe` returns, in order.
        bad, duplicates: how many records were left out.
    """
    labels = Counter()
    for shard in shards:
        labels.update(shard["labels"])
    dates = sorted(day for shard in shards for day in shard["dates"])
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "records": sum(shard["records"] for shard in shards),
        "bad": bad,
        "duplicates": duplicates,
        "undated": sum(shard["undated"] for shard in shards),
        "morphemes": sum(shard["morphemes"] for shard in shards),
        "labels": dict(sorted(labels.items())),
        "dates": [dates[0], dates[-1]] if dates else [],
        "sources": sources,
        "settings": settings,
        "tagger": tagger,
        "shards": [{key: shard[key] for key in ("name", "records", "bytes", "sha256")} for shard in shards],
    }


def as_text(data: dict) -> str:
    """Return a manifest as its file has it."""
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def read_manifest(folder: Path, verify: bool = True) -> dict:
    """Return the manifest of a finished folder.

    Args:
        folder: what ``prepare`` wrote.
        verify: also compare every shard's checksum.

    Raises:
        StudyError: if the folder is unfinished, damaged, or of another format.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise StudyError(
            f"{folder}에 prepare를 마친 글이 없으니 경로를 확인하거나 prepare를 먼저 실행하세요."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = found["format"] == FORMAT and found["schema"] == SCHEMA and isinstance(found["records"], int)
        names = {shard["name"]: shard["sha256"] for shard in found["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        whole, names = False, {}
    if not whole:
        raise StudyError(f"{path}의 내용이 깨졌으니 prepare를 --restart로 다시 실행하세요.")
    for name, digest in names.items() if verify else ():
        if not is_whole(Path(folder) / name, digest):
            raise StudyError(
                f"{Path(folder) / name}이(가) 없거나 저장한 때와 다르니 prepare를 --restart로 다시 실행하세요."
            )
    return found


def is_whole(path: Path, digest: str) -> bool:
    """Return whether a file is there with this SHA-256."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def paths(folder: Path, found: dict) -> list[Path]:
    """Return the shards' files, in order."""
    return [Path(folder) / shard["name"] for shard in found["shards"]]


def read(folder: Path) -> Iterator[dict]:
    """Yield the records of a finished folder, shard by shard; :func:`read_manifest` checks it first.

    Raises:
        StudyError: if it is unfinished or damaged.
    """
    for path in paths(folder, read_manifest(folder)):
        yield from map(decode, unpack(path))
