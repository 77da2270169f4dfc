"""Instructions and preference pairs: read, checked, filtered, and divided so that nothing leaks.

A line of JSONL is an instruction, ``prompt`` and ``answer``, or a pair, ``prompt``, ``chosen`` and ``rejected``. Either
may have ``category`` and ``given``: words with which the answer has begun, which are not learnt, and after which
``chosen`` and ``rejected`` go on.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from tf_study import cli
from tf_study.errors import StudyError

WORLD, KOREAN = "world", "korean"
SHARE = 5  # one prompt in so many is held out
ALIKE = 0.8  # share of common letter triples from which two prompts are nearly the same
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
KEYS = ({"prompt", "answer"}, {"prompt", "chosen", "rejected"})
OPTIONAL = {"category", "given"}
PRIVATE = {
    "주민등록번호": re.compile(r"(?<!\d)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[- ]?[1-8]\d{6}(?!\d)"),
    "전화번호": re.compile(
        r"(?<!\d)(?:\+82[- ]?|0)(?:10|1[16-9]|2|[3-6][1-5]|70)[-. ]?\d{3,4}[-. ]?\d{4}(?!\d)"
    ),
    "이메일": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
}
CARD = re.compile(r"(?<!\d)\d(?:[- ]?\d){12,18}(?!\d)")


@dataclass(frozen=True)
class Row:
    """What is asked, the answer to learn, and for a pair the answer to avoid."""

    prompt: str
    answer: str
    rejected: str = ""
    category: str = ""
    given: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the row as a line of JSONL has it."""
        if self.rejected:
            line = {"prompt": self.prompt, "chosen": self.answer, "rejected": self.rejected}
        else:
            line = {"prompt": self.prompt, "answer": self.answer}
        return line | {key: value for key in sorted(OPTIONAL) if (value := getattr(self, key))}


@dataclass(frozen=True)
class Data:
    """A set in two parts.

    Attributes:
        source: its name or file.
        train, held_out: rows; no prompt of one part is in the other, nor nearly.
        numbers: what was counted on the way, see :func:`table`.
        skipped: place and reason, in Korean, of each line that is no row.
    """

    source: str
    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    numbers: dict
    skipped: tuple[tuple[str, str], ...] = ()

    def fingerprint(self) -> str:
        """Return a digest of all rows."""
        rows = [[row.as_json() for row in part] for part in (self.train, self.held_out)]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def load(source: str) -> Data:
    """Return a set, checked and divided.

    Args:
        source: ``world`` (:mod:`tf_study.manners`), ``korean`` (the course's instructions and pairs), a file, or a folder
            that :func:`save` has written.

    Raises:
        StudyError: if the file cannot be read, or too little is left of it.
    """
    if source == WORLD:
        parts = _world()
        rows = [row for part in parts for row in part]
        return Data(source, *map(tuple, parts), _numbers(rows, parts, lines=len(rows)))
    skipped: list[tuple[str, str]] = []
    numbers = dict(lines=0, bad=0, private=0, duplicates=0, swapped=0, near=0)
    folder = Path(source)
    if source != KOREAN and folder.is_dir():
        train, held_out = (
            list(_kept(_lines(folder / name, skipped, numbers), skipped, numbers))
            for name in (TRAIN, HELD_OUT)
        )
    else:
        lines = _korean() if source == KOREAN else _lines(folder, skipped, numbers)
        kept = list(_kept(lines, skipped, numbers))
        train = [row for row in kept if not _is_held_out(row)]
        held_out = [row for row in kept if _is_held_out(row)]
    if not train or not held_out:
        reason = f" ({skipped[0][0]}: {skipped[0][1].rstrip('.')})" if skipped else ""
        raise StudyError(
            f"{source}의 {numbers['lines']}줄 가운데 쓸 수 있는 것이 {len(train) + len(held_out)}줄뿐이라 학습과 평가로 나눌 수 없으니 "
            f"더 넣거나 고치세요{reason}."
        )
    new = ~alike([row.prompt for row in held_out], [row.prompt for row in train])
    numbers["near"] = int((~new).sum())
    held_out = [row for row, is_new in zip(held_out, new, strict=True) if is_new]
    if not held_out:
        raise StudyError(f"{source}의 평가할 질문이 모두 학습할 질문과 비슷하니 다른 질문을 더 넣으세요.")
    parts = train, held_out
    return Data(
        source, *map(tuple, parts), numbers | _numbers(train + held_out, parts, **numbers), tuple(skipped)
    )


def table(data: Data) -> str:
    """Return what was counted, as text."""
    n = data.numbers
    rows = [
        ("읽은 줄", n["lines"]),
        ("형식이 틀린 줄", n["bad"]),
        ("개인정보가 든 줄", n["private"]),
        ("되풀이된 줄", n["duplicates"]),
        ("두 답이 뒤바뀐 쌍", n["swapped"]),
        ("학습할 질문과 비슷해 뺀 평가 질문", n["near"]),
        ("남은 지시", n["instructions"]),
        ("남은 선호 쌍", n["pairs"]),
        ("학습 / 평가", f"{n['train']} / {n['held_out']}"),
        ("답의 글자 수", f"{n['length']:.1f}"),
    ]
    if n["pairs"]:
        rows += [
            ("버린 답의 글자 수", f"{n['rejected_length']:.1f}"),
            ("고른 답이 더 긴 비율", f"{n['longer']:.3f}"),
        ]
    return cli.table([("검사한 것", "값"), *((name, str(value)) for name, value in rows)])


def save(data: Data, folder: Path) -> list[Path]:
    """Write the parts as JSONL; return the paths."""
    paths = []
    for name, rows in ((TRAIN, data.train), (HELD_OUT, data.held_out)):
        text = "".join(json.dumps(row.as_json(), ensure_ascii=False) + "\n" for row in rows)
        cli.write_text(folder / name, text)
        paths.append(folder / name)
    return paths


def private(text: str) -> list[str]:
    """Return the kinds of personal data that stand in a text."""
    found = [kind for kind, pattern in PRIVATE.items() if pattern.search(text)]
    if any(luhn(re.sub(r"\D", "", match.group())) for match in CARD.finditer(text)):
        found.append("카드번호")
    return found


def luhn(digits: str) -> bool:
    """Tell whether a number passes Luhn's test, as those of cards do."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def alike(texts: list[str], others: list[str]) -> np.ndarray:
    """Return for each text whether some other one has nearly the same letter triples (Jaccard)."""
    columns: dict[str, int] = {}
    first, second = (_triples(part, columns) for part in (texts, others))
    first.resize(len(texts), len(columns))
    shared = (first @ second.T).toarray()
    sizes = first.sum(1)[:, None] + second.sum(1)[None]
    return (shared >= ALIKE * (sizes - shared)).any(1)


def normal(text: str) -> str:
    """Return a text without what does not make it another one: case, spaces, marks, the way Hangul is coded."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", text).casefold())


def _triples(texts: list[str], columns: dict[str, int]) -> sparse.csr_array:
    """Return which triples are in which text, 1 or 0; new ones get new columns."""
    places = []
    for number, text in enumerate(texts):
        letters = f"  {normal(text)}  "
        found = {letters[i : i + 3] for i in range(len(letters) - 2)}
        places += [(number, columns.setdefault(triple, len(columns))) for triple in found]
    rows, cells = zip(*places, strict=True)
    return sparse.csr_array((np.ones(len(rows)), (rows, cells)), shape=(len(texts), len(columns)))


def _kept(rows: Iterable[tuple[str, Row]], skipped: list, numbers: dict) -> Iterator[Row]:
    """Yield the rows without personal data, each once, and none that says the contrary of an earlier one."""
    seen = set()
    for place, row in rows:
        numbers["lines"] += 1
        if kinds := private(" ".join((row.prompt, row.given, row.answer, row.rejected))):
            numbers["private"] += 1
            skipped.append((place, f"개인정보({', '.join(kinds)})가 있으니 지우세요."))
            continue
        question = (normal(row.prompt), normal(row.given))
        answers = (normal(row.answer), normal(row.rejected))
        if (question, answers) in seen:
            numbers["duplicates"] += 1
        elif row.rejected and (question, answers[::-1]) in seen:
            numbers["swapped"] += 1
            skipped.append((place, "앞의 쌍과 두 답이 뒤바뀌었으니 어느 쪽이 나은지 확인하세요."))
        else:
            seen.add((question, answers))
            yield row


def _is_held_out(row: Row) -> bool:
    """Decide by the prompt alone: all answers to a question are in one part, in every run and on every machine."""
    return hashlib.sha256(normal(row.prompt).encode()).digest()[0] % SHARE == 0


def _numbers(rows: list[Row], parts, **counted) -> dict:
    pairs = [row for row in rows if row.rejected]
    longer = [
        float(np.sign(len(row.answer) - len(row.rejected)) + 1) / 2 for row in pairs
    ]  # A tie counts half.
    found = dict(bad=0, private=0, duplicates=0, swapped=0, near=0) | counted
    return found | dict(
        instructions=len(rows) - len(pairs),
        pairs=len(pairs),
        train=len(parts[0]),
        held_out=len(parts[1]),
        length=float(np.mean([len(row.answer) for row in rows])),
        rejected_length=float(np.mean([len(row.rejected) for row in pairs])) if pairs else 0.0,
        longer=float(np.mean(longer)) if pairs else 0.0,
    )


def _lines(path: Path, skipped: list, numbers: dict) -> Iterator[tuple[str, Row]]:
    """Yield place and row of each line of a file; note those that are none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "UTF-8로 저장되지 않았으니" if isinstance(error, UnicodeDecodeError) else "열 수 없으니"
        raise StudyError(f"{path} 파일을 {reason} {WORLD}, {KOREAN}이나 JSONL 파일을 주세요.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path.name} {number}번째 줄"
        try:
            yield place, _row(json.loads(line))
        except json.JSONDecodeError:
            numbers["lines"] += 1
            numbers["bad"] += 1
            skipped.append((place, "JSON이 아니니 고치세요."))
        except ValueError as error:
            numbers["lines"] += 1
            numbers["bad"] += 1
            skipped.append((place, str(error)))


def _row(line) -> Row:
    """Return the row of a line; ``ValueError`` with one Korean sentence if it is none."""
    if not isinstance(line, dict) or not any(keys <= set(line) <= keys | OPTIONAL for keys in KEYS):
        raise ValueError("prompt와 answer, 또는 prompt, chosen, rejected가 있어야 하니 고치세요.")
    if not all(isinstance(value, str) for value in line.values()):
        raise ValueError("글이 아닌 값이 있으니 고치세요.")
    line = {key: value.strip() for key, value in line.items()}
    if not all(value for key, value in line.items() if key not in OPTIONAL):
        raise ValueError("빈 글이 있으니 채우거나 빼세요.")
    if line.get("chosen") is not None and normal(line["chosen"]) == normal(line["rejected"]):
        raise ValueError("두 답이 같으니 고치거나 빼세요.")
    answer = line.pop("answer", None) or line.pop("chosen")
    return Row(answer=answer, **line)


def _korean() -> Iterator[tuple[str, Row]]:
    from tf_study.data import texts

    for number, record in enumerate(texts.instructions_ko(), start=1):
        prompt = f"{record['instruction']}\n{record['input']}".strip()
        yield f"instructions_ko {number}", Row(prompt, record["output"])
    for number, record in enumerate(texts.preferences_ko(), start=1):
        yield f"preferences_ko {number}", Row(record["prompt"], record["chosen"], record["rejected"])


def _world() -> tuple[list[Row], list[Row]]:
    """Return the pairs of the small world; requests, and so all their phrasings, are in one part.

    For training every pair is there twice: from the beginning, and from a few words into the helpful answer on, where
    it is to go on for a harmless question and to turn into a refusal for a harmful one.
    """
    from tf_study import manners

    def row(request, phrasing, given=0):
        words = request.help()[:given]
        answers = [
            answer if answer == request.refusal() else answer[given:]
            for answer in (request.right(), request.wrong())
        ]
        kind = "lookalike" if request.lookalike else "harmful" if request.harmful else "safe"
        return Row(
            " ".join(request.question(phrasing)),
            *map(" ".join, answers),
            category=kind,
            given=" ".join(words),
        )

    random = np.random.default_rng(0)
    phrasings = range(len(manners.PHRASINGS))
    train, held_out = manners.split()
    learnt = [
        row(request, phrasing, given)
        for request in train
        for phrasing in phrasings
        for given in (0, int(random.integers(1, 5)))
    ]
    return learnt, [row(request, phrasing) for request in held_out for phrasing in phrasings]
