"""Texts and word vectors: reviews, headlines, preference pairs, instructions, GloVe, FastText.

In the small profile everything comes from files inside the package; in the full profile the reviews and
GloVe are the published sets. The Korean headlines, preference pairs and instructions were written for
this curriculum and are the same in both profiles.
"""

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from tf_study import profile
from tf_study.data import fetch, store
from tf_study.data.sampling import amount, balanced_order
from tf_study.errors import StudyError

TOPICS = ("정치", "경제", "사회", "생활문화", "세계", "IT과학", "스포츠")
SENTIMENTS = ("부정", "긍정")

Texts = tuple[list[str], np.ndarray]


def imdb(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Texts, Texts]:
    """Return English film reviews with their sentiment.

    Small: 820 reviews written for this curriculum (CC0), 656 for training and 164 for testing. Full: the
    Large Movie Review Dataset, 25,000 and 25,000 (A. Maas et al., 2011; free for research, no licence
    stated), read from the folder ``aclImdb`` or its tar.gz; its texts contain ``<br />`` as published.

    Args:
        train: number of training reviews; ``None`` takes all.
        test: number of test reviews; ``None`` takes all.
        seed: fixes the order, hence which reviews a smaller number keeps. The classes are balanced.

    Returns:
        ``(texts, labels), (texts, labels)``: list of str, and int64 of shape (N,), 0 negative, 1 positive.

    Raises:
        StudyError: if more is asked for than there is, or the full set cannot be had.
    """
    splits = (
        _read_imdb(fetch.locate("imdb")) if profile.is_full() else _split(_embedded("texts/reviews_en.tsv"))
    )
    return _choose(splits, train, test, seed)


def nsmc(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Texts, Texts]:
    """Return Korean reviews with their sentiment.

    Small: 1,040 reviews of films, food, deliveries, apps and books written for this curriculum (CC0), 832
    for training and 208 for testing. Full: the Naver Sentiment Movie Corpus (L. Park, 2016; CC0), 150,000
    and 50,000, less its few empty ones.

    Args:
        train: number of training reviews; ``None`` takes all.
        test: number of test reviews; ``None`` takes all.
        seed: fixes the order, hence which reviews a smaller number keeps. The classes are balanced.

    Returns:
        ``(texts, labels), (texts, labels)``: list of str, and int64 of shape (N,), 0 negative, 1 positive.

    Raises:
        StudyError: if more is asked for than there is, or the full set cannot be had or is damaged.
    """
    if profile.is_full():
        folder = fetch.locate("nsmc")
        splits = tuple(_read_nsmc(folder / name) for name in fetch.NSMC_FILES)
    else:
        splits = reviews_ko()
    return _choose(splits, train, test, seed)


def reviews_ko() -> tuple[Texts, Texts]:
    """Return the Korean reviews written for this curriculum, which :func:`nsmc` gives in the small profile alone."""
    return _split(_embedded("texts/reviews_ko.tsv"))


def topics_ko(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Texts, Texts]:
    """Return Korean news headlines in seven topics, written for this curriculum (CC0); same in both profiles.

    Args:
        train: number of training headlines; ``None`` takes all 588.
        test: number of test headlines; ``None`` takes all 147.
        seed: fixes the order, hence which headlines a smaller number keeps. The classes are balanced.

    Returns:
        ``(texts, labels), (texts, labels)``: list of str, and int64 of shape (N,), index into ``TOPICS``.

    Raises:
        StudyError: if more is asked for than there is.
    """
    return _choose(_split(_embedded("texts/topics_ko.tsv", TOPICS)), train, test, seed)


def preferences_ko(count: int | None = None, seed: int = 0) -> list[dict[str, str]]:
    """Return questions with a better and a worse answer, written for this curriculum (CC0).

    The worse answers are wrong, careless, harmful or beside the point; they are there to be avoided.

    Args:
        count: number of pairs; ``None`` takes all 310.
        seed: fixes the order, hence which pairs a smaller number keeps.

    Returns:
        Dictionaries with the str values ``prompt``, ``chosen``, ``rejected``.

    Raises:
        StudyError: if more is asked for than there is.
    """
    return _choose_records("preferences_ko", count, seed)


def instructions_ko(count: int | None = None, seed: int = 0) -> list[dict[str, str]]:
    """Return instructions with their answers, written for this curriculum (CC0).

    Args:
        count: number of instructions; ``None`` takes all 310.
        seed: fixes the order, hence which instructions a smaller number keeps.

    Returns:
        Dictionaries with the str values ``instruction``, ``input`` (empty for half of them), ``output``.

    Raises:
        StudyError: if more is asked for than there is.
    """
    return _choose_records("instructions_ko", count, seed)


def glove(words: int | None = None, dim: int = 50) -> tuple[list[str], np.ndarray]:
    """Return GloVe word vectors trained on Wikipedia 2014 and Gigaword 5 (J. Pennington et al., 2014; PDDL).

    Small: 5,000 words, those of the English reviews and the most frequent others, 50 d, values as published.
    Full: 400,000 words, from ``glove.6B.<dim>d.txt`` or ``glove.6B.zip``.

    Args:
        words: number of words, most frequent first; ``None`` takes all.
        dim: 50, and in the full profile also 100, 200 or 300.

    Returns:
        The vocabulary of V words and their vectors, float32 (V, dim).

    Raises:
        StudyError: if there is no such dimension, more is asked for than there is, or the file is damaged.
    """
    dims = fetch.GLOVE_DIMENSIONS if profile.is_full() else fetch.GLOVE_DIMENSIONS[:1]
    if dim not in dims:
        raise StudyError(
            f"이 프로필의 GloVe에는 {dim}차원이 없으니 dim을 {', '.join(map(str, dims))} 가운데서 고르세요."
        )
    if not profile.is_full():
        found = fetch.read_npz(store.path("texts/glove.npz"), ("words", "vectors"))
        vocabulary, vectors = found["words"].tobytes().decode().split("\n"), found["vectors"]
    else:
        path = fetch.locate("glove" if dim == 50 else f"glove_{dim}")
        with _reading(path), _open_glove(path, dim) as lines:
            vocabulary, vectors = _parse_vectors(islice(lines, words), dim)
    words = amount(words, len(vocabulary), "GloVe")
    return vocabulary[:words], vectors[:words]


def fasttext(path: str | Path, words: int | None = None) -> tuple[list[str], np.ndarray]:
    """Read word vectors in FastText's text format ``.vec``: a line ``V d``, then a word and d numbers each.

    Args:
        path: the file, unpacked.
        words: number of words to read; ``None`` reads all.

    Returns:
        The vocabulary of V words and their vectors, float32 (V, d).

    Raises:
        StudyError: if the file is missing, cut off, of another format, or has fewer words than asked for.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise StudyError(f"{path} 파일이 없으니 경로를 확인하거나 FastText 벡터를 받아 압축을 푸세요.")
    with _reading(path), path.open(encoding="utf-8", newline="\n") as lines:
        count, dim = (int(number) for number in next(lines, "").split())
        vocabulary, vectors = _parse_vectors(islice(lines, words), dim)
        if words is None and len(vocabulary) != count:
            raise ValueError("fewer words than the first line says")
    words = amount(words, len(vocabulary), "FastText")
    return vocabulary, vectors


# Reading


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into the learner's error."""
    try:
        yield
    except (*fetch.DAMAGE, OSError) as error:
        raise fetch.damaged(path) from error


@contextmanager
def _open_glove(path: Path, dim: int) -> Iterator[io.TextIOBase]:
    """Open the text of GloVe, alone or inside its zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(f"glove.6B.{dim}d.txt") as member:
            yield io.TextIOWrapper(member, encoding="utf-8", newline="\n")
    else:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield file


def _parse_vectors(lines, dim: int) -> tuple[list[str], np.ndarray]:
    """Parse lines of a word and ``dim`` numbers; a word may itself contain spaces."""
    vocabulary, rows = [], []
    for line in lines:
        word, *numbers = line.rstrip().rsplit(" ", dim)
        if len(numbers) != dim:
            raise ValueError("a line has too few numbers")
        vocabulary.append(word)
        rows.append(np.array(numbers, np.float32))
    return vocabulary, np.array(rows, np.float32).reshape(-1, dim)


def _embedded(name: str, classes: tuple[str, ...] = ("0", "1")) -> Texts:
    """Read a TSV of the package: the label first, the text last."""
    rows = [line.split("\t") for line in store.path(name).read_text(encoding="utf-8").split("\n") if line]
    return [row[-1] for row in rows], np.array([classes.index(row[0]) for row in rows], np.int64)


def _read_nsmc(path: Path) -> Texts:
    """Read a TSV with the columns id, document, label; documents may be empty and are then left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{path} 파일의 인코딩이 UTF-8이 아니니 원본을 다시 받거나 UTF-8로 저장하세요."
        ) from error
    except OSError as error:
        raise fetch.damaged(path) from error
    texts, labels = [], []
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if number == 1 and fields == ["id", "document", "label"]:
            continue
        if len(fields) != 3 or fields[2] not in ("0", "1"):
            raise StudyError(
                f"{path} 파일의 {number}번째 줄이 비었거나 id, document, label 세 칸이 아니니 "
                "그 줄을 고치거나 원본을 다시 받으세요."
            )
        if fields[1].strip():
            texts.append(fields[1])
            labels.append(int(fields[2]))
    return texts, np.array(labels, np.int64)


def _read_imdb(path: Path) -> tuple[Texts, Texts]:
    """Read ``aclImdb/{train,test}/{pos,neg}/*.txt`` from a folder or the tar.gz, ordered by name."""
    pattern = re.compile(r"(train|test)/(pos|neg)/\d+_\d+\.txt$")
    found = {}
    with _reading(path):
        if path.is_dir():
            for file in path.glob("t*/*/*.txt"):
                if match := pattern.search(file.as_posix()):
                    found[match.group()] = file.read_text(encoding="utf-8")
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if match := pattern.search(member.name):
                        found[match.group()] = archive.extractfile(member).read().decode("utf-8")
        splits = []
        for split in ("train", "test"):
            names = sorted(name for name in found if name.startswith(split))
            if not names:
                raise ValueError(f"no {split} reviews")
            labels = np.array([name.split("/")[1] == "pos" for name in names], np.int64)
            splits.append(([found[name] for name in names], labels))
    return tuple(splits)


# Choosing


def _split(texts: Texts, share: float = 0.8) -> tuple[Texts, Texts]:
    """Split into training and test texts, the same share of each class; independent of the caller's seed,
    so that no test text of one call is a training text of another."""
    labels = texts[1]
    order = np.random.default_rng(0).permutation(len(labels))
    train = np.concatenate(
        [own[: round(share * len(own))] for own in (order[labels[order] == c] for c in np.unique(labels))]
    )
    return _take(texts, np.sort(train)), _take(texts, np.setdiff1d(order, train))


def _choose(splits: tuple[Texts, Texts], train: int | None, test: int | None, seed: int):
    return tuple(
        _take(
            texts, balanced_order(texts[1], np.random.default_rng(seed))[: amount(count, len(texts[1]), name)]
        )
        for texts, count, name in zip(splits, (train, test), ("훈련", "테스트"), strict=True)
    )


def _take(texts: Texts, indices: np.ndarray) -> Texts:
    return [texts[0][index] for index in indices], texts[1][indices]


def _choose_records(name: str, count: int | None, seed: int) -> list[dict[str, str]]:
    with store.path(f"texts/{name}.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    order = np.random.default_rng(seed).permutation(len(records))
    return [records[index] for index in order[: amount(count, len(records), name)]]
