"""What a training run can be told."""

import argparse
import math
from dataclasses import asdict, dataclass, fields, replace

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick


@dataclass(frozen=True)
class Settings:
    """Settings of a run; two runs with equal settings and records learn the same.

    ``validation``: share of the records that early stopping, the baseline's choice of C and the thresholds look at.
    ``coverage``: share of these that the thresholds let through. ``vocabulary``: most morphemes that have a number of
    their own. ``limit``: morphemes of a text that are read. ``epochs``: at most; ``patience``: epochs without a lower
    validation loss after which a network is done. ``embedding``, ``units``: widths of both networks. ``dropout``: of the
    hidden values; ``unknown``: share of the morphemes that a network does not get to see while it learns.
    ``features``: most syllable n-grams of the baseline.
    """

    validation: float = 0.15
    coverage: float = 0.9
    vocabulary: int = 20_000
    limit: int = 64
    epochs: int = 30
    patience: int = 4
    batch: int = 32
    rate: float = 5e-3
    embedding: int = 128
    units: int = 64
    dropout: float = 0.5
    unknown: float = 0.1
    features: int = 200_000
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.validation < 1:
            raise StudyError(
                f"검증에 쓸 비율 {self.validation}은(는) 쓸 수 없으니 0과 1 사이의 수로 바꾸세요."
            )
        if not 0 < self.coverage <= 1:
            raise StudyError(f"주제를 답할 비율 {self.coverage}을(를) 0보다 크고 1 이하인 수로 바꾸세요.")
        counts = ("vocabulary", "limit", "epochs", "patience", "batch", "embedding", "units", "features")
        if min(getattr(self, name) for name in counts) < 1:
            raise StudyError(f"{', '.join(counts)}은(는) 모두 1 이상으로 주세요.")
        if not (0 < self.rate < math.inf and 0 <= self.dropout < 1 and 0 <= self.unknown < 1):
            raise StudyError("학습률은 0보다 크게, dropout과 unknown은 0 이상 1 미만으로 주세요.")
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON gives them back."""
        return asdict(self)


def choose(options: argparse.Namespace) -> Settings:
    """Return the profile's settings with what the command line says otherwise.

    Raises:
        StudyError: if they cannot be.
    """
    names = (field.name for field in fields(Settings))
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    usual = pick(
        small=Settings(),
        full=Settings(vocabulary=30_000, epochs=15, patience=2, batch=128, rate=2e-3, units=128),
    )
    return replace(usual, **given)
