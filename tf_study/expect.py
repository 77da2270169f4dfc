"""What graders ask of an answer: each function raises :class:`Mismatch` with one Korean sentence, or passes."""

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tf_study import compare, threads
from tf_study.errors import StudyError

LIBRARIES = {"builtins", "numpy", "ml_dtypes", "tensorflow", "keras"}


class Mismatch(Exception):
    """An answer that is not right; the text says in Korean what differs."""


class Ungraded(Exception):
    """An answer that cannot be judged on this machine; the text says why, in Korean, and what mends it."""


def expect(condition, message: str) -> None:
    """Raise :class:`Mismatch` with the Korean ``message`` unless ``condition`` holds."""
    if not condition:
        raise Mismatch(message)


def expect_close(
    got,
    expected,
    case: str,
    tol: float = 1e-5,
    dtype=None,
    mistakes: Mapping[str, object] | Callable[[], Mapping[str, object]] | None = None,
) -> None:
    """Raise :class:`Mismatch` unless ``got`` is an array of the expected shape, type and values.

    Args:
        got: the learner's result; tensors, arrays, numbers and lists of them.
        expected: the reference, array-like of any shape.
        case: which input this was, in Korean.
        tol: bound on ``max|got - expected| / max(1, max|expected|)``; 0 asks for equality.
        dtype: also require this dtype (anything ``np.dtype`` accepts).
        mistakes: Korean sentence → the value that a known mistake gives; if ``got`` equals it, the sentence is
            added to the message as the likely cause. A function that returns the mapping is called only
            when the values differ.
    """
    expect(
        got is None or _is_plain(got),
        f"{case}: 결과의 형이 {type(got).__name__}입니다. 텐서나 NumPy 배열, 수를 돌려주세요.",
    )
    _, message = compare.difference(got, expected, tol, dtype)
    if message is None:
        return
    known = mistakes() if callable(mistakes) else mistakes or {}
    for cause, value in known.items():
        if compare.near(got, value) and not compare.near(value, expected):
            message = f"{message} {cause}"
            break
    raise Mismatch(f"{case}: {message}")


def expect_returned(got, case: str) -> None:
    """Raise :class:`Mismatch` if the answer returned nothing."""
    expect(got is not None, f"{case}: {compare.NOT_RETURNED}")


def expect_ranks(function: Callable, size: int, case: str, timeout: float = 10) -> list:
    """Return what ``function(comm)`` gives on every rank, a thread; raise :class:`Mismatch` if one waits for ever.

    Args:
        function: called with each rank's communicator.
        size: the number of ranks.
        case: which input this was, in Korean.
        timeout: seconds that all ranks together may take.
    """
    try:
        return threads.run(function, size, timeout=timeout)
    except StudyError as error:
        raise Mismatch(f"{case}: {error}") from None


def expect_parts(got, names: Sequence[str], case: str) -> Sequence:
    """Return ``got`` if it is a list or tuple with one value per name, else raise :class:`Mismatch`.

    Args:
        got: the learner's result.
        names: what the values are, in Korean, in their order.
        case: which input this was, in Korean.
    """
    expect_returned(got, case)
    if not isinstance(got, list | tuple) or len(got) != len(names):
        raise Mismatch(f"{case}: ({', '.join(names)}) {len(names)}개를 순서대로 돌려주어야 합니다.")
    return got


def expect_type(got, kind: type, case: str) -> None:
    """Raise :class:`Mismatch` unless ``got`` is an instance of ``kind``."""
    expect_returned(got, case)
    expect(
        isinstance(got, kind),
        f"{case}: 결과의 형이 {kind.__name__}여야 하는데 {type(got).__name__}입니다.",
    )


def expect_model(got, input_shape: tuple[int, ...], case: str) -> None:
    """Raise :class:`Mismatch` unless ``got`` is a Keras model that knows its input and takes this shape.

    Args:
        got: the learner's model; a subclassed model does not know its input's shape.
        input_shape: without the batch axis.
        case: which call this was, in Korean.
    """
    import keras

    expect_type(got, keras.Model, case)
    expect(
        hasattr(got, "input_shape"),
        f"{case}: keras.Input으로 시작하는 Sequential이나 함수형 모델이어야 합니다.",
    )
    real, wanted = tuple(got.input_shape), (None, *input_shape)
    expect(real == wanted, f"{case}: 입력의 모양이 {wanted}이어야 하는데 {real}입니다.")


def expect_array(got, case: str) -> np.ndarray:
    """Return ``got`` as an array if it is made of numbers, arrays and tensors, else raise :class:`Mismatch`."""
    expect_returned(got, case)
    expect(_is_plain(got), f"{case}: 결과의 형이 {type(got).__name__}입니다. 텐서나 NumPy 배열을 돌려주세요.")
    try:
        return np.asarray(got)
    except ValueError:  # Rows of different lengths.
        raise Mismatch(f"{case}: 길이가 다른 것들을 배열로 바꿀 수 없습니다.") from None


def expect_integers(got, case: str) -> np.ndarray:
    """Return ``got`` as an array if it holds integers, else raise :class:`Mismatch`."""
    got = expect_array(got, case)
    expect(got.dtype.kind in "iu", f"{case}: 정수여야 하는데 자료형이 {got.dtype}입니다.")
    return got


def expect_trainable(owner, case: str) -> None:
    """Raise :class:`Mismatch` if a layer or model holds a frozen weight.

    Args:
        owner: a Keras layer or model with weights.
        case: which call this was, in Korean.
    """
    learned = {id(weight) for weight in owner.trainable_weights}
    for weight in owner.weights:
        kept = weight.name.startswith(("moving_", "seed"))  # By batch normalization and dropout.
        expect(kept or id(weight) in learned, f"{case}: {weight.path}이 얼어 있어 학습되지 않습니다.")


def expect_logits(got, shape: tuple[int, ...], case: str) -> np.ndarray:
    """Return ``got`` as an array if it holds finite real numbers of this shape, else raise :class:`Mismatch`.

    Args:
        got: the learner's logits, array-like.
        shape: the shape they must have, such as (N,) or (N, K).
        case: which input this was, in Korean.
    """
    got = expect_array(got, case)
    expect(got.shape == shape, f"{case}: 로짓의 모양이 {shape}이어야 하는데 {got.shape}입니다.")
    expect(got.dtype.kind == "f" and np.isfinite(got).all(), f"{case}: 유한한 실수의 로짓이어야 합니다.")
    return got


def expect_accuracy(
    predict: Callable,
    inputs: Sequence,
    labels,
    target: float,
    case: str,
    hint: str = "",
    tol: float = 1e-2,
    logits: bool = True,
) -> np.ndarray:
    """Raise :class:`Mismatch` unless ``predict`` reaches ``target`` on data that it has not seen.

    The inputs are given in another order, and a few of them again backwards and alone, so that an answer that
    depends on its neighbours in the batch or on the order is noticed.

    Args:
        predict: inputs → logits, shape (N,) for two classes (positive is class 1) or (N, K); or class numbers (N,).
        inputs: N inputs, a list or an array.
        labels: N class numbers.
        target: the accuracy that the problem states.
        case: what the data are, in Korean.
        hint: what to try next, in Korean.
        tol: how far the logits of the same input may be apart; class numbers must be the same.
        logits: whether ``predict`` gives logits or class numbers.

    Returns:
        The logits or class numbers in the order of ``inputs``.
    """
    labels = np.asarray(labels)
    classes = int(labels.max()) + 1
    order = np.random.default_rng(len(labels)).permutation(len(labels))

    def answer(rows, name: str) -> np.ndarray:
        some = inputs[rows] if isinstance(inputs, np.ndarray) else [inputs[row] for row in rows]
        with untouched(name, some):
            got = expect_array(predict(some), name)
        if logits:
            wide = classes > 2 or got.shape == (len(rows), 2)
            wanted = (len(rows), classes) if wide else (len(rows),)
            return expect_logits(got, wanted, name).astype(float)
        wanted = (len(rows),)
        expect(got.shape == wanted, f"{name}: 결과의 모양이 {wanted}이어야 하는데 {got.shape}입니다.")
        expect(got.dtype.kind in "iu", f"{name}: 클래스 번호는 정수여야 하는데 자료형이 {got.dtype}입니다.")
        low, high = got.min(), got.max()
        expect(
            0 <= low and high < classes,
            f"{name}: 클래스 번호는 0에서 {classes - 1}까지인데 {low}에서 {high}까지 나왔습니다.",
        )
        return got

    found = answer(order, case)
    for name, few in (("일곱 개를 거꾸로", slice(6, None, -1)), ("하나만", slice(3, 4))):
        name = f"{case}, {name}"
        expect_close(answer(order[few], name), found[few], name, tol=tol if logits else 0)
    guess = found if not logits else found > 0 if found.ndim == 1 else found.argmax(1)
    accuracy = float(np.mean(guess == labels[order]))
    expect(
        not logits or found.min() < 0 or found.max() > 1,
        f"{case}: 나온 값이 모두 0과 1 사이입니다. 확률이 아니라 로짓을 돌려주세요.",
    )
    if classes == 2 and accuracy <= 1 - target:
        hint = "두 클래스가 뒤바뀐 것 같습니다."
    expect(
        accuracy >= target,
        f"{case}: 정확도가 {target:.2f} 이상이어야 하는데 {accuracy:.3f}입니다"
        f"(무작위 추측은 {1 / classes:.2g}). {hint}".rstrip(),
    )
    return found[np.argsort(order)]


@contextlib.contextmanager
def untouched(case: str, *values) -> Iterator[None]:
    """Raise :class:`Mismatch` if the block changes one of the arrays, lists, sets or dictionaries given to it."""
    values = [
        value for value in values if isinstance(value, np.ndarray | list | set | dict)
    ]  # Tensors cannot change.
    before = copy.deepcopy(values)
    yield
    for old, new in zip(before, values, strict=True):
        if isinstance(old, np.ndarray):
            same = old.shape == new.shape and old.tobytes() == new.tobytes()  # NaN is equal to itself, too.
            expect(same, f"{case}: 받은 배열을 바꾸었습니다. 복사한 배열에서 계산하세요.")
        else:
            expect(old == new, f"{case}: 받은 {type(old).__name__}를 바꾸었습니다. 복사한 것에서 계산하세요.")


def _is_plain(value, depth: int = 6) -> bool:
    """Return whether ``value`` holds only numbers, arrays and tensors, whose contents cannot change when read.

    A class of the answer's own, even one made from these, could compute its contents when they are compared.
    """
    kind = type(value)
    if kind in (list, tuple) and depth:
        return all(_is_plain(item, depth - 1) for item in value)
    kinds = [np.ndarray, np.generic, bool, int, float, complex, str]
    for module, names in (("tensorflow", ("Tensor", "Variable")), ("keras", ("Variable", "KerasTensor"))):
        kinds += [getattr(sys.modules[module], name) for name in names if module in sys.modules]
    owner = sys.modules.get(kind.__module__)
    from_library = (
        kind.__module__.partition(".")[0] in LIBRARIES and getattr(owner, kind.__name__, None) is kind
    )
    return from_library and isinstance(value, tuple(kinds))
