"""Reviews with their sentiments: where they are read from, how they are divided, what is wrong with them."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sentiment_analysis.settings import CLASSES, PUBLISHED
from tf_study import data, profile
from tf_study.errors import StudyError

FILES = ("ratings_train.txt", "ratings_test.txt")
SHARE, MOST = 0.1, 2000  # of the training reviews that validate, and how many at most
TEST = 0.2  # of the reviews of a single file
FEWEST = 10  # reviews of a class
LETTERS = 3  # in a review at least for its like to be a duplicate: "최고" is language, not a leak
LONG = 10  # letters from which duplicates are counted together

Skipped = list[tuple[str, str]]  # (file and line, reason in Korean)


@dataclass(frozen=True)
class Reviews:
    """``texts``: N strings in NFC. ``labels``: int64 (N,), 0 negative, 1 positive."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Iterable[int]) -> "Reviews":
        """Return some of the reviews, in the order of ``rows``."""
        rows = np.asarray(list(rows), np.int64)
        return Reviews([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Parts:
    """The three parts. ``skipped`` says what could not be read; ``recomposed`` counts texts that were not NFC."""

    train: Reviews
    validation: Reviews
    test: Reviews
    skipped: Skipped
    recomposed: int = 0

    def items(self) -> list[tuple[str, Reviews]]:
        """Return the Korean names of the parts, and the parts."""
        return [("훈련", self.train), ("검증", self.validation), ("테스트", self.test)]

    def fingerprint(self) -> str:
        """Return a digest of all texts and labels: equal means the same data, divided alike."""
        hashed = hashlib.sha256()
        for _, reviews in self.items():
            for text, label in zip(reviews.texts, reviews.labels, strict=True):
                hashed.update(f"{label}\t{text}\n".encode("utf-8", "surrogatepass"))
            hashed.update(b"\n")
        return hashed.hexdigest()


def read(source: str | Path, labels: int = 0, seed: int = 0) -> Parts:
    """Read reviews and divide them.

    Args:
        source: ``embedded`` (written for this curriculum), ``nsmc`` (the published files, in the full profile), a
            folder with :data:`FILES`, or one TSV file of which a fifth is the test part.
        labels: reviews for training and validation together, as many of each class; 0 takes all.
        seed: chooses those, and the validation's.

    Raises:
        StudyError: if there is nothing to read, a class is missing or has few reviews, or there are not so many.
    """
    skipped, counts = [], Counter()
    if source in PUBLISHED:
        if source == "nsmc" and not profile.is_full():
            raise StudyError(
                "nsmc는 공개된 파일을 쓰므로 TF_STUDY_PROFILE=full로 실행하거나 두 파일이 있는 폴더를 주세요."
            )
        pairs = data.nsmc() if source == "nsmc" else data.reviews_ko()
        known, test = (_composed(list(zip(texts, marks, strict=True)), counts) for texts, marks in pairs)
    elif Path(source).is_dir():
        known, test = (_composed(_lines(Path(source) / name, skipped), counts) for name in FILES)
    else:
        rows = _composed(_lines(Path(source), skipped), counts)
        _check(rows, source)
        test, known = _divided(rows, TEST, len(rows), 0)  # The test part is no matter of the seed.
    if Path(source).is_dir():
        for part, name in zip((known, test), FILES, strict=True):
            _check(part, Path(source) / name)
    if labels:
        known = _chosen(known, labels, seed)
    validation, train = _divided(known, SHARE, MOST, seed)
    return Parts(train, validation, test, skipped, counts["recomposed"])


def of_card(card: dict) -> Parts:
    """Return the parts that a model was trained with.

    Raises:
        StudyError: if the data has changed since, or cannot be read.
    """
    chosen = card["settings"]
    parts = read(card["data"], chosen["labels"], chosen["seed"])
    if not chosen["duplicates"]:
        parts, _ = without_duplicates(parts)
    if parts.fingerprint() != card["fingerprint"]:
        raise StudyError(
            f"{card['data']}의 리뷰가 학습한 때와 다르니 되돌리거나 train을 --restart로 실행하세요."
        )
    return parts


def normalised(text: str) -> str:
    """Return the letters and digits of a text in small letters: what is left when marks and spaces differ."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def without_duplicates(parts: Parts) -> tuple[Parts, dict[str, int]]:
    """Leave out of training what also validates or tests, and of validation what also tests.

    Reviews are the same if their letters and digits are and there are :data:`LETTERS` at least. The test part stays
    as it is, so that figures can be compared with published ones.

    Returns:
        The parts, and how many reviews went from ``train`` and ``validation``.
    """
    tests = _keys(parts.test.texts)
    validation = [row for row, key in enumerate(_keys(parts.validation.texts)) if not _met(key, set(tests))]
    kept = parts.validation.take(validation)
    others = {*tests, *_keys(kept.texts)}
    train = [row for row, key in enumerate(_keys(parts.train.texts)) if not _met(key, others)]
    gone = {"train": len(parts.train) - len(train), "validation": len(parts.validation) - len(validation)}
    return replace(parts, train=parts.train.take(train), validation=kept), gone


def statistics(parts: Parts) -> dict:
    """Return what is to be known of the parts before training.

    Returns:
        ``parts``: by name ``reviews``, ``positive`` (a share), ``length`` (characters: percentiles 5, 50, 95 and the
        longest), ``repeated`` (reviews that equal an earlier one of the part, exactly and by letters) and
        ``contradicting`` (texts with both labels); ``shared``: of the training and validation reviews those that are
        also in the test part, ``exact``, ``normalised``, and ``by_length`` of the normalised ones (letters → count,
        the last for that many or more); ``recomposed`` and ``skipped``.
    """
    report = {"parts": {}, "recomposed": parts.recomposed, "skipped": len(parts.skipped)}
    for name, reviews in parts.items():
        lengths = [len(text) for text in reviews.texts]
        keys, marks = _keys(reviews.texts), {}
        for text, label in zip(reviews.texts, reviews.labels, strict=True):
            marks.setdefault(text, set()).add(int(label))
        report["parts"][name] = {
            "reviews": len(reviews),
            "positive": float(np.mean(reviews.labels)),
            "length": [int(value) for value in (*np.percentile(lengths, (5, 50, 95)), max(lengths))],
            "repeated": [len(reviews) - len(set(reviews.texts)), len(keys) - len(set(keys))],
            "contradicting": sum(len(found) > 1 for found in marks.values()),
        }
    tests, tested = set(parts.test.texts), set(_keys(parts.test.texts)) - {""}
    texts = parts.train.texts + parts.validation.texts
    met = [key for key in _keys(texts) if key in tested]
    report["shared"] = {
        "exact": sum(text in tests for text in texts),
        "normalised": len(met),
        "by_length": dict(sorted(Counter(min(len(key), LONG) for key in met).items())),
    }
    return report


def _keys(texts: Sequence[str]) -> list[str]:
    return [normalised(text) for text in texts]


def _met(key: str, others: set[str]) -> bool:
    return len(key) >= LETTERS and key in others


def _lines(path: Path, skipped: Skipped) -> list[tuple[str, int]]:
    """Return the reviews of a TSV file: (id,) document, label; a first line may name the columns.

    Lines are cut at tabs by hand: quotes mean nothing in these files.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError:
        raise StudyError(f"{path} 파일의 인코딩이 UTF-8이 아니니 UTF-8로 저장하세요.") from None
    except OSError:
        raise StudyError(
            f"{path} 파일을 읽을 수 없으니 경로를 확인하거나 {' 또는 '.join(PUBLISHED)}를 쓰세요."
        ) from None
    head = [name.strip().lower() for name in lines[0].split("\t")]
    named = {"document", "label"} <= set(head)
    if named:
        text_at, label_at, width = head.index("document"), head.index("label"), len(head)
    else:
        width = len(head)
        text_at, label_at = width - 2, width - 1
        if width not in (2, 3):
            raise StudyError(
                f"{path}의 첫 줄이 탭으로 나눈 글과 레이블이 아니니 document와 label 칸이 있는 TSV로 바꾸세요."
            )
    marks = {str(number): number for number in range(len(CLASSES))} | {
        name: number for number, name in enumerate(CLASSES)
    }
    rows = []
    for number, line in enumerate(lines[named:], start=1 + named):
        fields = line.split("\t")
        place = f"{path.name} {number}번째 줄"
        if len(fields) != width:
            skipped.append((place, f"칸이 {len(fields)}개이니 {width}개로 맞추세요."))
        elif not fields[text_at].strip():
            skipped.append((place, "글이 비었으니 채우거나 지우세요."))
        elif (label := fields[label_at].strip()) not in marks:
            skipped.append((place, f"레이블이 {label!r}이니 0(부정)이나 1(긍정)로 바꾸세요."))
        else:
            rows.append((fields[text_at], marks[label]))
    return rows


def _composed(rows: Sequence[tuple[str, int]], counts: Counter) -> Reviews:
    texts = [unicodedata.normalize("NFC", text) for text, _ in rows]
    counts["recomposed"] += sum(new != old for new, (old, _) in zip(texts, rows, strict=True))
    return Reviews(texts, np.array([label for _, label in rows], np.int64))


def _check(reviews: Reviews, source: str | Path) -> None:
    found = np.bincount(reviews.labels, minlength=len(CLASSES))
    if found.min() < FEWEST:
        few = CLASSES[int(found.argmin())]
        raise StudyError(
            f"{source}에 {few} 리뷰가 {found.min()}개뿐이니 클래스마다 {FEWEST}개 이상이 되게 더하세요."
        )


def _divided(reviews: Reviews, share: float, most: int, seed: int) -> tuple[Reviews, Reviews]:
    """Return a share of the reviews, ``most`` at most and as many of each class as there are in all, and the rest."""
    random = np.random.default_rng(seed)
    share = min(share, most / len(reviews))
    chosen = np.zeros(len(reviews), bool)
    for label in range(len(CLASSES)):
        own = random.permutation(np.flatnonzero(reviews.labels == label))
        chosen[own[: max(1, round(share * len(own)))]] = True
    return reviews.take(np.flatnonzero(chosen)), reviews.take(np.flatnonzero(~chosen))


def _chosen(reviews: Reviews, count: int, seed: int) -> Reviews:
    """Return so many reviews, half of each class."""
    random, rows = np.random.default_rng(seed), []
    for label, wanted in enumerate((count // 2, count - count // 2)):
        own = np.flatnonzero(reviews.labels == label)
        if not FEWEST <= wanted <= len(own):
            raise StudyError(
                f"{CLASSES[label]} 리뷰 {wanted}개를 뽑을 수 없으니 labels를 {2 * FEWEST}에서 {2 * len(own)} 사이로 주세요."
            )
        rows.append(random.permutation(own)[:wanted])
    return reviews.take(np.sort(np.concatenate(rows)))
