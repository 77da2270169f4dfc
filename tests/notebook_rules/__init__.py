"""The rules every notebook keeps, one function a rule.

A rule takes a notebook (as read by ``nbformat``) and its context and yields one Korean sentence for every
violation. :func:`rules_for` says which rules hold for which kind of notebook. A notebook that
``tf_study/first_edition.txt`` lists is held to the bounds it was written under. Before its outputs are
committed, ``PYTHONPATH=tests python -m notebook_rules PATH`` shows what a notebook still breaks.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from tf_study import curriculum, notebooks

from . import first_edition
from .cells import ROOT, Context
from .every import clean_run, compared_share, file_size, links, metadata, models, no_private_text, setup_first
from .lecture import (
    estimated_minutes,
    hands_on,
    key_answer,
    lecture_opening,
    lecture_sections,
    lecture_size,
    no_verdicts,
    predictions,
    reading_time,
    schematic,
    verification_lines,
    words_a_cell,
)
from .practice import (
    learner_blank,
    own_practice,
    practice_structure,
    problem_titles,
    second_hint,
    solution_raises,
)
from .prose import korean, notation, one_sense
from .source import cell_length, code_shape, font_sizes, formatted, no_rebinding, rhythm

Rule = Callable[..., Iterator[str]]

EVERY = (clean_run, metadata, models, file_size, links, no_private_text, korean, setup_first)
STYLE = (compared_share, one_sense, notation, code_shape, font_sizes)
PRACTICE = (practice_structure, problem_titles, own_practice, solution_raises)
CODE = (cell_length, rhythm, no_rebinding, no_verdicts)
# kind of notebook → rules, for the first and the second edition
RULES: dict[str, tuple[tuple[Rule, ...], tuple[Rule, ...]]] = {
    "lecture": (
        (
            *EVERY,
            first_edition.compared_share,
            lecture_opening,
            lecture_sections,
            first_edition.lecture_size,
            first_edition.code_rhythm,
        ),
        (
            *EVERY,
            *STYLE,
            lecture_opening,
            lecture_sections,
            lecture_size,
            words_a_cell,
            reading_time,
            schematic,
            *CODE,
            verification_lines,
            predictions,
            hands_on,
            key_answer,
            formatted,
        ),
    ),
    # The first quarter of an hour of the course, 00_*.ipynb: no theory, no exercises, no verification.
    "welcome": ((), (*EVERY, *STYLE, estimated_minutes, *CODE, formatted)),
    "solution": (
        (*EVERY, first_edition.compared_share, *PRACTICE),
        (*EVERY, *STYLE, *PRACTICE, second_hint, formatted),
    ),
    "learner": (
        (*EVERY, practice_structure, learner_blank),
        (*EVERY, practice_structure, learner_blank),
    ),
    "walkthrough": (
        (*EVERY, first_edition.compared_share),
        (*EVERY, *STYLE, formatted),
    ),
}


def kinds() -> dict[Path, tuple[str, Context]]:
    """Return kind and context of every notebook there is, by its path relative to the repository root."""
    found = {}
    for item in curriculum.notebooks():
        if item.solution is None:
            kind = "welcome" if item.path.name.startswith("00_") else "lecture"
            found[item.path] = (kind, Context(ROOT / item.path, item.minutes))
        else:
            for kind, path in (("solution", item.solution), ("learner", item.path)):
                found[path] = (kind, Context(ROOT / path, item.minutes, item.practice))
    for project in curriculum.projects():
        if project.built:
            found[project.walkthrough] = ("walkthrough", Context(ROOT / project.walkthrough, 0))
    return found


def rules_for(kind: str, path: Path) -> tuple[Rule, ...]:
    """Return the rules for a notebook; a learner's follows the edition of its solution."""
    source = path.parent / "solutions" / path.name if kind == "learner" else path
    return RULES[kind][source not in curriculum.first_edition()]


def violations(kind: str, context: Context) -> Iterator[str]:
    """Yield what a notebook breaks of the second edition's rules, each with the name of the rule."""
    notebook = notebooks.read(context.path)
    for rule in RULES[kind][1]:
        yield from (f"{rule.__name__}: {violation}" for violation in rule(notebook, context))
