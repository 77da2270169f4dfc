"""The tag ``approx:<tol>`` for ``pytest --nbval``: text compared exactly, numbers within a tolerance.

A number b that is stored and a number a that is computed agree if ``|a - b| <= tol * max(1, |b|)``. Blanks
between words are free, since a number that is printed wider moves its neighbours.
"""

import copy
import re

from nbval.plugin import IPyNbCell

PREFIX = "approx:"
# A digit inside a name such as float32 or layer_2 is text.
NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\d_A-Za-z])"
)


def tolerance(tags: list[str]) -> float | None:
    """Return the tolerance that a cell's tags ask for, or ``None``.

    Raises:
        ValueError: if it is no positive number.
    """
    for tag in tags:
        if tag.startswith(PREFIX):
            value = float(tag.removeprefix(PREFIX))
            if not 0 < value < 1:
                raise ValueError(f"{tag!r}: the tolerance must lie between 0 and 1")
            return value
    return None


def reconcile(computed: str, stored: str, tol: float) -> tuple[str, list[str]]:
    """Return ``computed`` with every number that agrees written as in ``stored``, and what disagrees.

    Texts that differ in more than numbers and blanks are returned as they are.
    """
    if _words(computed) != _words(stored):
        return computed, []
    pieces, wrong, position = [], [], 0
    for old, new in zip(NUMBER.finditer(stored), NUMBER.finditer(computed), strict=True):
        a, b = (float(match.group().replace(",", "")) for match in (new, old))
        agrees = abs(a - b) <= tol * max(1.0, abs(b))
        if not agrees:
            wrong.append(
                f"저장된 수 {old.group()}, 나온 수 {new.group()}: 차이가 {tol:g}·max(1, |{b:g}|)보다 큽니다."
            )
        pieces += [stored[position : old.start()], (old if agrees else new).group()]
        position = old.end()
    return "".join(pieces) + stored[position:], wrong


def install() -> None:
    """Teach nbval the tag; safe to call twice."""
    if getattr(IPyNbCell.compare_outputs, "approximate", False):
        return
    exact = IPyNbCell.compare_outputs

    def compare_outputs(self, test, ref, skip_compare=None):
        tol = tolerance(self.cell.metadata.get("tags", []))
        wrong = []
        if tol is not None and len(test) == len(ref):
            test = copy.deepcopy(test)
            for new, old in zip(test, ref, strict=True):
                for where, key in _texts(new, old):
                    sanitized = (self.sanitize(part) for part in (where[0][key], where[1][key]))
                    where[0][key], said = reconcile(*sanitized, tol)
                    wrong += said
        same = exact(self, test, ref, skip_compare)
        self.comparison_traceback += wrong
        return same

    compare_outputs.approximate = True
    IPyNbCell.compare_outputs = compare_outputs


def _texts(new: dict, old: dict):
    """Yield the pairs of dictionaries, with the key, in which both outputs hold text."""
    for pair in ((new, old), (new.get("data", {}), old.get("data", {}))):
        for key in ("text", "text/plain"):
            if all(isinstance(part.get(key), str) for part in pair):
                yield pair, key


def _words(text: str) -> list[str]:
    return NUMBER.sub(" # ", text).split()
