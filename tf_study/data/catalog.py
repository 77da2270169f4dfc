"""The list of data sets and ``python main.py data [NAME]``: the table, a picture or a few examples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_study import cli, profile
from tf_study.errors import StudyError


@dataclass(frozen=True)
class Edition:
    """A data set in one profile: number of samples (training / test), source and licence, for display."""

    samples: str
    source: str
    licence: str


@dataclass(frozen=True)
class DataSet:
    """One data set of :mod:`tf_study.data`.

    Attributes:
        name: name of the function in :mod:`tf_study.data`.
        title: what it holds, in Korean.
        kind: "pictures", "texts", "records" or "vectors": how :func:`show` shows it.
        shape: shape of one sample.
        small: the embedded edition.
        full: the published edition; ``None`` if the embedded one serves both profiles.
    """

    name: str
    title: str
    kind: str
    shape: str
    small: Edition
    full: Edition | None = None

    @property
    def active(self) -> Edition:
        """The edition of the active profile."""
        return self.full if self.full is not None and profile.is_full() else self.small


OWN = "이 커리큘럼에서 그림"
WRITTEN = "이 커리큘럼에서 씀"

CATALOG = (
    DataSet(
        "mnist",
        "손글씨 숫자",
        "pictures",
        "(28, 28)",
        Edition("5,000 / 1,000", "MNIST 일부", "CC BY-SA 3.0"),
        Edition("60,000 / 10,000", "MNIST", "CC BY-SA 3.0"),
    ),
    DataSet(
        "fashion_mnist",
        "옷과 신발",
        "pictures",
        "(28, 28)",
        Edition("5,000 / 1,000", "Fashion-MNIST 일부", "MIT"),
        Edition("60,000 / 10,000", "Fashion-MNIST", "MIT"),
    ),
    DataSet(
        "cifar10",
        "열 가지 사물",
        "pictures",
        "(32, 32, 3)",
        Edition("4,000 / 1,000", OWN, "CC0"),
        Edition("50,000 / 10,000", "CIFAR-10", "명시 없음"),
    ),
    DataSet(
        "flowers",
        "다섯 가지 꽃, 클래스별 폴더",
        "pictures",
        "JPEG",
        Edition("600", OWN, "CC0"),
        Edition("3,670", "TF Flowers", "CC BY 2.0"),
    ),
    DataSet(
        "moving_mnist",
        "움직이는 숫자 영상",
        "pictures",
        "(20, 64, 64)",
        Edition("원하는 만큼", "mnist로 만듦", "CC BY-SA 3.0"),
    ),
    DataSet(
        "imdb",
        "영어 영화평, 긍정과 부정",
        "texts",
        "문장",
        Edition("656 / 164", WRITTEN, "CC0"),
        Edition("25,000 / 25,000", "Large Movie Review", "명시 없음"),
    ),
    DataSet(
        "nsmc",
        "한국어 리뷰, 긍정과 부정",
        "texts",
        "문장",
        Edition("832 / 208", WRITTEN, "CC0"),
        Edition("150,000 / 50,000", "네이버 영화평(NSMC)", "CC0"),
    ),
    DataSet(
        "topics_ko", "한국어 뉴스 제목, 일곱 주제", "texts", "문장", Edition("588 / 147", WRITTEN, "CC0")
    ),
    DataSet(
        "preferences_ko", "질문과 좋은 답, 나쁜 답", "records", "문장 3개", Edition("310", WRITTEN, "CC0")
    ),
    DataSet("instructions_ko", "지시와 답", "records", "문장 3개", Edition("310", WRITTEN, "CC0")),
    DataSet(
        "glove",
        "영어 단어 벡터",
        "vectors",
        "(50,)",
        Edition("5,000단어", "GloVe 6B 일부", "PDDL"),
        Edition("400,000단어", "GloVe 6B", "PDDL"),
    ),
)


def find(name: str) -> DataSet:
    """Return the data set called ``name``.

    Raises:
        StudyError: if there is none.
    """
    for item in CATALOG:
        if item.name == name:
            return item
    names = ", ".join(item.name for item in CATALOG)
    raise StudyError(f"{name!r}라는 데이터셋은 없으니 {names} 가운데 하나를 쓰세요.")


def print_table() -> None:
    """Print one line per data set and profile."""
    rows = [("이름", "내용", "샘플(훈련 / 테스트)", "모양", "출처", "라이선스", "프로필")]
    for item in CATALOG:
        editions = (
            {"small, full": item.small} if item.full is None else {"small": item.small, "full": item.full}
        )
        for number, (names, edition) in enumerate(editions.items()):
            head = ("", "") if number else (item.name, item.title)
            rows.append((*head, edition.samples, item.shape, edition.source, edition.licence, names))
    print(cli.table(rows))


def show(name: str, folder: Path) -> Path | None:
    """Save a picture of an image set as ``folder/<name>.png``, or print five examples of a text set.

    Args:
        name: name of a data set.
        folder: where the picture goes.

    Returns:
        The picture's path; ``None`` for texts and word vectors.

    Raises:
        StudyError: if there is no such set, it cannot be had, or the folder cannot be written to.
    """
    item = find(name)
    print(f"{item.title}: {item.active.samples}, {item.active.source}, {item.active.licence}")
    if item.kind == "pictures":
        return _save_picture(item, folder)
    {"texts": _print_texts, "records": _print_records, "vectors": _print_vectors}[item.kind](item.name)
    return None


def _save_picture(item: DataSet, folder: Path) -> Path:
    import matplotlib

    matplotlib.use("agg")
    from tf_study import plots

    pictures, titles = _pictures(item.name)
    axes = plots.image_grid(
        pictures, titles, columns=8 if item.name != "moving_mnist" else 10, title=item.title
    )
    path = folder / f"{item.name}.png"
    try:
        axes.flat[0].figure.savefig(path)
    except OSError as error:
        raise StudyError(f"{folder} 폴더에 그림을 쓸 수 없으니 다른 폴더에서 실행하세요.") from error
    print(f"그림을 {path} 파일에 저장했습니다.")
    return path


def _pictures(name: str) -> tuple[np.ndarray, list[str]]:
    """Return some images of a set with their titles."""
    from tf_study.data import images

    if name == "moving_mnist":
        frames = images.moving_mnist(2).reshape(-1, 64, 64)
        return frames, [f"{number % 20 + 1}장면" for number in range(len(frames))]
    if name == "flowers":
        from PIL import Image

        folder, pictures, titles = images.flowers(), [], []
        names = dict(zip(images.FLOWER_CLASSES, images.FLOWER_CLASSES_KO, strict=True))
        for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
            for path in sorted(kind.glob("*.jpg"))[:8]:
                with Image.open(path) as image:
                    pictures.append(np.asarray(image.convert("RGB").resize((96, 96))))
                titles.append(names.get(kind.name, kind.name))
        return np.stack(pictures), titles
    classes = {"cifar10": images.CIFAR10_CLASSES_KO, "fashion_mnist": images.FASHION_CLASSES_KO}.get(
        name, range(10)
    )
    (pictures, labels), _ = getattr(images, name)(train=32)
    return pictures, [str(classes[label]) for label in labels.ravel()]


def _print_texts(name: str) -> None:
    from tf_study.data import texts

    names = texts.TOPICS if name == "topics_ko" else texts.SENTIMENTS
    (lines, labels), _ = getattr(texts, name)(train=5)
    for line, label in zip(lines, labels, strict=True):
        print(f"[{names[label]}] {_shorten(line)}")


def _print_records(name: str) -> None:
    from tf_study.data import texts

    for number, record in enumerate(getattr(texts, name)(5), start=1):
        for key, value in record.items():
            if value:
                print(f"{number}. {key}: {_shorten(value)}")


def _print_vectors(name: str) -> None:
    from tf_study.data import texts

    vocabulary, vectors = getattr(texts, name)()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for word in ("good", "boring", "film", "actor", "seoul"):
        if word in vocabulary:
            nearest = np.argsort(-(unit @ unit[vocabulary.index(word)]), kind="stable")[1:6]
            print(f"{word}: 가까운 단어 {', '.join(vocabulary[index] for index in nearest)}")


def _shorten(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
