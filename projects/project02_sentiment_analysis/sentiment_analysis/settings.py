"""What a training can be told, and the names that everything else uses. Nothing heavy is imported here."""

import argparse
import math
from dataclasses import asdict, dataclass, replace

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick

CLASSES = ("부정", "긍정")  # 0, 1 everywhere
ENCODERS = ("small", "e5-small", "koelectra-small", "kobert")
FORMS = ("saved_model", "float16", "int8")
PUBLISHED = ("embedded", "nsmc")  # sources by name; any other is a path


@dataclass(frozen=True)
class Settings:
    """Settings of a training; two with equal settings and data learn the same.

    ``encoder``: of :data:`ENCODERS`. ``labels``: training reviews to learn from, as many of each class; 0 takes all.
    ``tokens``: of a review at most, with the two special ones. ``epochs``, ``rates``: the most epochs and the largest
    learning rate of the two stages, the head and then the upper blocks too. ``blocks``: how many of the encoder's
    blocks learn in the second stage, the last ones. ``pretraining``: steps in which the encoder ``small``
    learns Korean first; with 0 it starts from random weights. ``patience``: epochs to wait for a lower validation
    loss. ``duplicates``: whether training reviews that are also test reviews are kept.
    """

    encoder: str = "small"
    labels: int = 0
    tokens: int = 64
    batch: int = 32
    epochs: tuple[int, int] = (2, 6)
    rates: tuple[float, float] = (1e-2, 1e-3)
    blocks: int = 2
    pretraining: int = 0
    patience: int = 2
    duplicates: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.encoder not in ENCODERS:
            raise StudyError(f"{self.encoder!r} 인코더는 없으니 {', '.join(ENCODERS)} 가운데 하나를 쓰세요.")
        if (
            min(self.batch, self.patience, *self.epochs) < 1
            or min(self.labels, self.blocks, self.pretraining) < 0
        ):
            raise StudyError(
                "batch, patience, epochs는 1 이상으로, labels, blocks, pretraining은 0 이상으로 주세요."
            )
        if not 8 <= self.tokens <= 512:
            raise StudyError(f"토큰 수 {self.tokens}은(는) 쓸 수 없으니 8에서 512 사이로 바꾸세요.")
        if not all(0 < rate < math.inf for rate in self.rates):
            raise StudyError("학습률은 0보다 크게 주세요.")
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON gives them back."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


def default(encoder: str | None = None) -> Settings:
    """Return the settings with which an encoder learns well; the default encoder depends on the profile."""
    encoder = encoder or pick(small="small", full="koelectra-small")
    if encoder == "small":
        return Settings(encoder)
    blocks = {"e5-small": 4, "koelectra-small": 12, "kobert": 12}.get(encoder, 0)
    return Settings(
        encoder, epochs=(20, 3), rates=(5e-3, 2e-4 if encoder != "kobert" else 5e-5), blocks=blocks
    )


def choose(options: argparse.Namespace) -> Settings:
    """Return the settings that the command line asks for.

    Raises:
        StudyError: if they cannot be.
    """
    names = ("labels", "tokens", "batch", "blocks", "pretraining", "patience", "duplicates", "seed")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    given |= {name: tuple(value) for name in ("epochs", "rates") if (value := getattr(options, name))}
    return replace(default(options.encoder), **given)


def source(name: str | None) -> str:
    """Return where reviews come from: what was asked for, or the profile's."""
    return name or pick(small="embedded", full="nsmc")
