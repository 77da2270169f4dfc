"""What happens to one item on its way from a file to a record: the same on one machine and in a pipeline on many."""

import json
from collections.abc import Iterable, Iterator, Mapping

from korean_nlp import cleaning, duplicates, morphemes, reading

BAD, DUPLICATES = "bad.jsonl", "duplicates.jsonl"  # what was left out, beside the shards


def read_all(files: Iterable[reading.Source], wanted: reading.Columns, **more) -> Iterator[dict]:
    """Yield the items and bad lines of files, in order; a text of which cleaning leaves nothing is a bad line."""
    for file in files:
        for item in reading.read(file, wanted, **more):
            if "text" in item and not cleaning.clean(item["text"]):
                item = {
                    "order": item["order"],
                    "id": item["id"],
                    "reason": "글이 비었습니다",
                    "line": item["text"],
                }
            yield item


def letters(item: Mapping) -> str:
    """Return what of an item's text is compared with others."""
    return duplicates.letters(cleaning.clean(item["text"]))


def analysed(tagger: morphemes.Tagger, items: list[dict]) -> list[dict]:
    """Return items with the morphemes of their cleaned texts."""
    found = tagger.tag([cleaning.clean(item["text"]) for item in items])
    return [item | {"morphemes": tags} for item, tags in zip(items, found, strict=True)]


def counted(item: Mapping) -> dict:
    """Return what of an analysed item :func:`korean_nlp.records.describe` counts."""
    return {key: item[key] for key in ("date", "label", "undated", "morphemes")}


def as_line(item: Mapping) -> str:
    """Return an item as a line of JSON."""
    return json.dumps(item, ensure_ascii=False) + "\n"


def duplicate(later: dict, earlier: dict) -> dict:
    """Return what is written of a dropped item."""
    shown = {"order": later["order"], "id": later["id"], "text": later["text"], "label": later["label"]}
    return shown | {"like": earlier["id"], "like_text": earlier["text"], "like_label": earlier["label"]}


def nothing(files: list[reading.Source]) -> str:
    """Return what is said when no text could be read."""
    names = ", ".join(file.name for file in files)
    return f"{names}에서 쓸 수 있는 글을 찾지 못했으니 형식과 --text-column, --encoding을 확인하세요."


def finished(folder: str) -> str:
    """Return what is said of a folder that holds a finished run."""
    return f"{folder}에 prepare를 마친 글이 있으니 다른 폴더를 주거나 --restart로 다시 만드세요."
