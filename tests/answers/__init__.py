"""Answers to the practices, one module a practice: ``RIGHT`` in different styles and ``WRONG``.

A function is registered where it is written; one that differs by an option is added in a line::

    RIGHT, WRONG = Answers(), Answers()

    @WRONG("rms_norm")
    def rms_norm_without_gain(a, gain, eps):
        \"\"\"Forget the gain.\"\"\"

    WRONG.add("rms_norm", _norm, "Subtract the mean.", centre=True)
"""

import functools
from collections.abc import Callable


class Answers:
    """The answers to each problem of one practice, in the order in which they are registered."""

    def __init__(self) -> None:
        self._found: dict[str, list] = {}

    def __call__(self, *problems: str) -> Callable:
        """Register the decorated function or class as an answer to these problems."""

        def register(answer):
            for problem in problems:
                self._found.setdefault(problem, []).append(answer)
            return answer

        return register

    def add(self, problem: str, answer, what: str, **options) -> None:
        """Register ``answer`` with options: keyword arguments of a function, class attributes of a class."""
        name = f"{getattr(answer, '__name__', type(answer).__name__)}_{'_'.join(what.strip('.').split())}"
        if isinstance(answer, type):
            made = type(name, (answer,), {"__doc__": what, **options})
        else:

            def made(*args, **kwargs):
                return answer(*args, **kwargs, **options)

            if callable(answer):
                functools.update_wrapper(made, answer)
            made.__name__, made.__doc__ = name, what
        self(problem)(made)

    def __getitem__(self, problem: str) -> list:
        return self._found.get(problem, [])

    def __iter__(self):
        return iter(self._found)
