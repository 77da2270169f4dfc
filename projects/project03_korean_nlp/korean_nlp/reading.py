"""Texts out of files: CSV, TSV, JSON lines, JSON, plain text; nothing is lost silently.

What can be read becomes an item, what cannot a bad line with its reason. Both carry ``order``, by which two machines
agree on which came first. A file is read in constant memory, but for a JSON array, which is read whole.
"""

import csv
import datetime
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tf_study.errors import StudyError

KINDS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".txt": ""}
COLUMNS = {
    "text": ("text", "document", "title", "sentence", "content", "글", "본문", "제목", "내용", "문장"),
    "label": ("label", "topic", "category", "주제", "분류", "레이블"),
    "date": ("date", "datetime", "created_at", "날짜", "일시", "작성일"),
    "id": ("id", "guid", "번호"),
}
LONGEST = 1 << 20  # bytes of a line
_SPAN = 1000  # lines of a quoted field
_SAMPLE = 1 << 18  # bytes by which the encoding is told
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
KOREA = datetime.timezone(datetime.timedelta(hours=9))


@dataclass(frozen=True)
class Columns:
    """Which columns or keys hold what; ``None`` looks for a usual name (:data:`COLUMNS`)."""

    text: str | None = None
    label: str | None = None
    date: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Source:
    """One file to be read: its place in the reading order, the name that its records' ids begin with, its path."""

    number: int
    name: str
    path: str
    encoding: str | None = None


def read(
    source: Source,
    columns: Columns = Columns(),  # noqa: B008  It is frozen.
    opened: Callable[[str], BinaryIO] = lambda path: open(path, "rb"),  # noqa: SIM115
) -> Iterator[dict]:
    """Yield what is in a file, in its order.

    Args:
        source: the file.
        columns: where the text, label, date and id are.
        opened: opens a path for reading bytes.

    Yields:
        Items ``{"order": [source, line], "id", "text", "date", "label", "undated"}``, and bad lines
        ``{"order", "id", "reason", "line"}``. ``undated``: there was a date that could not be read.

    Raises:
        StudyError: if the file cannot be read, or no column holds the text.
    """
    try:
        with opened(source.path) as file:
            encoding, file = _told(file, source)
            lines = _lines(file, encoding, source)
            kind, lines = _kind(source, lines, columns)
            for number, row in _ROWS[kind](lines, columns, source):
                yield _item(source, number, row, columns)
    except OSError as error:
        raise StudyError(
            f"{source.name}을(를) 읽을 수 없으니 경로와 권한을 확인하세요 ({error.strerror or error})."
        ) from None


def files(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the files of a folder and its folders that can be read, by name, and those that are left out."""
    found = sorted(file for file in path.rglob("*") if file.is_file())
    seen = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return [file for file in seen if file.suffix.lower() in KINDS], [
        file for file in seen if file.suffix.lower() not in KINDS
    ]


def moment(text: str) -> datetime.datetime:
    """Return the moment that a text names, in Korea.

    ``2016-06-30``, ``2016-06-30T10:36:00Z``, ``20160630``, ``2016.06.30. 오전 10:36``, ``2016년 6월 30일 오후 3시 5분``.
    오전 12시 is midnight and 오후 12시 noon; a moment with an offset is turned into Korea's.

    Raises:
        ValueError: if it names none.
    """
    text = " ".join(text.split())
    match = _DAY.match(text)
    if not match:
        when = datetime.datetime.fromisoformat(text)
        return when.astimezone(KOREA).replace(tzinfo=None) if when.tzinfo else when
    year, month, day = map(int, match.groups())
    rest = text[match.end() :].strip(" T.")
    if not rest:
        return datetime.datetime(year, month, day)
    if not (clock := _CLOCK.fullmatch(rest)):
        raise ValueError(text)
    half, hour, minute, second, offset = clock.groups()
    hour = int(hour)
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(text)
        hour = hour % 12 + (12 if half.lower() in ("오후", "pm") else 0)
    when = datetime.datetime(year, month, day, hour, int(minute or 0), int(second or 0))
    if offset:
        when = datetime.datetime.fromisoformat(f"{when.isoformat()}{offset}").astimezone(KOREA)
    return when.replace(tzinfo=None)


_DAY = re.compile(r"(\d{4}) ?[-./년] ?(\d{1,2}) ?[-./월] ?(\d{1,2})(?!\d) ?[.일]?")
_CLOCK = re.compile(
    r"(오전|오후|am|pm)? ?(\d{1,2}) ?(?:[:시] ?(\d{1,2})?)?(?: ?[:분] ?(\d{1,2})?)?(?:\.\d+)? ?초?"
    r"(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)


# Bytes to lines


def _told(file: BinaryIO, source: Source) -> tuple[str, BinaryIO]:
    """Return a file's encoding, told by its beginning, and the file from its beginning."""
    sample = file.read(_SAMPLE)
    file = _Again(sample, file)
    if source.encoding:
        try:
            "".encode(source.encoding)
        except LookupError:
            raise StudyError(
                f"{source.encoding!r}라는 인코딩은 없으니 utf-8, cp949, utf-16처럼 적으세요."
            ) from None
        return source.encoding, file
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding, file
    if sample.count(b"\0") > len(sample) // 100:
        return ("utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"), file
    lines = sample.split(b"\n")
    lines = lines[:-1] if len(sample) == _SAMPLE else lines  # The last may be cut in the middle of a letter.
    wrong = {name: sum(not _decodes(line, name) for line in lines) for name in ("utf-8", "cp949")}
    return min(wrong, key=wrong.get), file


class _Again:
    """A file whose beginning was read already."""

    def __init__(self, begun: bytes, rest: BinaryIO):
        self.begun, self.rest = io.BytesIO(begun), rest

    def readline(self, limit: int) -> bytes:
        line = self.begun.readline(limit)
        if line.endswith(b"\n") or len(line) == limit:
            return line
        return line + self.rest.readline(limit - len(line))

    def read(self, size: int = -1) -> bytes:
        return self.begun.read(size) or self.rest.read(size)


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _lines(file: _Again, encoding: str, source: Source) -> Iterator[tuple[int, str | Exception]]:
    """Yield the lines with their numbers from 1, without their ends; a reason in place of one that cannot be had."""
    if encoding not in ("utf-8", "utf-8-sig") and source.encoding is None:
        print(f"{source.name}은(는) {encoding.upper()}로 읽습니다.", file=sys.stderr, flush=True)
    if encoding.startswith(("utf-16", "utf-32")):  # A line's end is no single byte here.
        raw: Iterable[bytes] = _wide(file, encoding)
        encoding = "utf-8"
    else:
        raw = iter(lambda: file.readline(LONGEST), b"")
    number, inside = 0, False
    for piece in raw:
        cut = len(piece) >= LONGEST and not piece.endswith(b"\n")
        if not inside:
            number += 1
        if cut or inside:
            if not inside:
                yield number, _Bad("줄이 너무 깁니다", piece[:100].decode(encoding, "replace"))
            inside = cut
            continue
        try:
            line = piece.decode(encoding)
        except UnicodeDecodeError:
            yield number, _Bad("글자가 깨졌습니다", piece.decode(encoding, "backslashreplace").rstrip("\r\n"))
            continue
        yield number, line.removesuffix("\n").removesuffix("\r")


def _wide(file: _Again, encoding: str) -> Iterator[bytes]:
    """Yield the lines of a file in UTF-16 or UTF-32 as UTF-8; a broken letter as a byte that is none."""
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest = ""
    while block := file.read(_SAMPLE):
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        for line in lines:
            yield (line + "\n").encode().replace("�".encode(), b"\xff")
        if len(rest) > LONGEST:
            yield rest.encode()
            rest = ""
    rest += decoder.decode(b"", True)
    if rest:
        yield rest.encode().replace("�".encode(), b"\xff")


class _Bad(Exception):
    """A line that is no record: the reason, in Korean, and the line."""

    def __init__(self, reason: str, line: str):
        super().__init__(reason)
        self.reason, self.line = reason, line


# Lines to rows: dictionaries of columns, or why there is none


def _kind(source: Source, lines: Iterator, columns: Columns) -> tuple[str, Iterator]:
    """Return the format of a file, by its name or else by its first line, and all its lines."""
    kind = KINDS.get(Path(source.name).suffix.lower(), "")
    first = next(lines, None)
    rest = _chain(first, lines)
    if kind or first is None or isinstance(first[1], _Bad):
        return kind or "text", rest
    line = first[1].lstrip("\ufeff")
    if line.lstrip().startswith("{"):
        return "jsonl", rest
    for kind, separator in (("tsv", "\t"), ("csv", ",")):
        names = {name.strip().strip('"').lower() for name in line.split(separator)}
        wanted = {columns.text.lower()} if columns.text else set(COLUMNS["text"])
        if len(names) > 1 and names & wanted:
            return kind, rest
    return "text", rest


def _chain(first, rest: Iterator) -> Iterator:
    if first is not None:
        yield first
    yield from rest


def _text(lines: Iterator, columns: Columns, source: Source) -> Iterator:
    for number, line in lines:
        if isinstance(line, _Bad) or line.strip():
            yield number, line if isinstance(line, _Bad) else {"text": line}


def _jsonl(lines: Iterator, columns: Columns, source: Source) -> Iterator:
    for number, line in lines:
        if isinstance(line, _Bad):
            yield number, line
        elif line.strip():
            try:
                row = json.loads(line.lstrip("\ufeff"))
            except (ValueError, RecursionError):
                row = None
            yield (
                number,
                _named(row, columns) if isinstance(row, dict) else _Bad("JSON 객체가 아닙니다", line),
            )


def _json(lines: Iterator, columns: Columns, source: Source) -> Iterator:
    """Yield the objects of a file that is one array, or of one that is JSON lines after all."""
    kept = list(lines)
    if not any(isinstance(line, _Bad) for _, line in kept):
        try:
            rows = json.loads("\n".join(line for _, line in kept).lstrip("\ufeff"))
        except (ValueError, RecursionError):
            rows = None
        if isinstance(rows, list):
            for number, row in enumerate(rows, start=1):
                shown = json.dumps(row, ensure_ascii=False)
                yield (
                    number,
                    _named(row, columns) if isinstance(row, dict) else _Bad("JSON 객체가 아닙니다", shown),
                )
            return
    yield from _jsonl(iter(kept), columns, source)


def _tsv(lines: Iterator, columns: Columns, source: Source) -> Iterator:
    """Yield rows whose cells are cut at tabs alone: a quotation mark is a letter here."""
    yield from _cells(lines, lambda line: line.split("\t"), columns, source)


def _csv(lines: Iterator, columns: Columns, source: Source) -> Iterator:
    """Yield rows of CSV. A quotation mark that is never closed costs its own line and no more."""
    yield from _cells(_joined(lines), _cut, columns, source)


def _cut(line: str) -> list[str]:
    return next(csv.reader([line], strict=True), [])


def _joined(lines: Iterator) -> Iterator:
    """Yield the lines of CSV, those joined between which a quoted field goes on.

    If they are no row together, the first is bad, and the others are looked at anew.
    """
    waiting: list = []
    width = None  # cells of the first row
    while found := waiting.pop(0) if waiting else next(lines, None):
        number, line = found
        if isinstance(line, _Bad) or not _is_open(line):
            if width is None and not isinstance(line, _Bad):
                width = _width(line)
            yield number, line
            continue
        taken = [found]
        while len(taken) < _SPAN and (after := waiting.pop(0) if waiting else next(lines, None)):
            taken.append(after)
            if isinstance(after[1], _Bad):
                break
            if not _is_open(whole := "\n".join(line for _, line in taken)):
                if width == _width(whole):
                    yield number, whole
                    taken = []
                break
        if taken:
            yield number, _Bad("따옴표가 닫히지 않았습니다", line)
            waiting = taken[1:] + waiting


def _is_open(line: str) -> bool:
    """Return whether a line of CSV ends inside a quoted field."""
    try:
        _cut(line)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _width(line: str) -> int | None:
    """Return how many cells a line of CSV has; ``None`` if it is empty or wrong."""
    try:
        return len(_cut(line)) or None
    except csv.Error:
        return None


def _cells(lines: Iterator, cut: Callable[[str], list[str]], columns: Columns, source: Source) -> Iterator:
    head = None
    for number, line in lines:
        if isinstance(line, _Bad):
            yield number, line
            continue
        if not line.strip():
            continue
        try:
            cells = cut(line)
        except csv.Error:
            yield number, _Bad("CSV의 따옴표가 틀렸습니다", line)
            continue
        if head is None:
            head = [name.strip() for name in cells]
            head[0] = head[0].lstrip("\ufeff")
            _check(head, columns, source)
        elif len(cells) != len(head):
            yield number, _Bad(f"칸이 {len(head)}개가 아니라 {len(cells)}개입니다", line)
        else:
            yield number, _named(dict(zip(head, cells, strict=True)), columns) | {"line": line}


_ROWS = {"text": _text, "jsonl": _jsonl, "json": _json, "tsv": _tsv, "csv": _csv}


def _check(head: list[str], columns: Columns, source: Source) -> None:
    """Raise a StudyError if a column that is asked for, or that of the text, is not there."""
    for role in COLUMNS:
        asked = getattr(columns, role)
        if asked and asked not in head:
            raise StudyError(
                f"{source.name}에 {asked!r} 열이 없으니 --{role}-column을 고치세요 (있는 열: {', '.join(head)})."
            )
    if _column(head, columns, "text") is None:
        raise StudyError(
            f"{source.name}에서 글이 든 열을 찾지 못했으니 --text-column으로 알려 주세요 (있는 열: {', '.join(head)})."
        )


def _column(names: Iterable[str], columns: Columns, role: str) -> str | None:
    asked = getattr(columns, role)
    if asked:
        return asked
    known = {str(name).lower(): name for name in reversed(list(names))}
    return next((known[name] for name in COLUMNS[role] if name in known), None)


def _named(row: dict, columns: Columns) -> dict:
    """Return a row by the roles of its columns."""
    found = {role: row.get(_column(row, columns, role)) for role in COLUMNS}
    return found | {"line": json.dumps(row, ensure_ascii=False, default=str)}


def _item(source: Source, number: int, row: dict | _Bad, columns: Columns) -> dict:
    """Return a row as an item or as a bad line."""
    order, place = [source.number, number], f"{source.name}:{number}"
    if isinstance(row, _Bad):
        return {"order": order, "id": place, "reason": row.reason, "line": _whole(row.line)}
    text = row["text"]
    line = _whole(row.get("line") or str(text))
    if not isinstance(text, str):
        return {"order": order, "id": place, "reason": "글이 없습니다", "line": line}
    if not text.strip():
        return {"order": order, "id": place, "reason": "글이 비었습니다", "line": line}
    values = {
        key: "" if (value := row.get(key)) is None else str(value).strip() for key in ("id", "label", "date")
    }
    if any(_whole(value) != value for value in (text, *values.values())):
        return {"order": order, "id": place, "reason": "글자가 깨졌습니다", "line": line}
    try:
        day = moment(values["date"]).date().isoformat() if values["date"] else ""
    except (ValueError, OverflowError):
        day = ""
    return {
        "order": order,
        "id": values["id"] or place,
        "text": text,
        "date": day,
        "label": values["label"],
        "undated": bool(values["date"]) and not day,
    }


def _whole(text: str) -> str:
    """Return a text as UTF-8 can hold it: JSON may spell half of a letter."""
    return text.encode("utf-8", "replace").decode()
