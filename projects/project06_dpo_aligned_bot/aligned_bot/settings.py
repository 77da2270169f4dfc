"""What a training can be told, and the card that it leaves. Nothing heavy is imported here."""

import argparse
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick

WORLD = "world"
FULL = "Qwen/Qwen3-0.6B"  # a real Korean model, of the hub
CARD = "training.json"  # written last: a folder with one is whole


@dataclass(frozen=True)
class Settings:
    """Settings of a run; two runs with equal settings and data learn the same.

    ``kind``: ``sft`` or ``dpo``. ``base``: a name for :func:`bot.load`. ``batch``: rows a step, in all processes
    together. ``micro``: of these, computed at once in a process. ``rate``: the largest learning rate. ``beta``, ``sft``:
    DPO's beta and the weight of the chosen answers' negative log-likelihood per token. ``rank``: of LoRA, whose alpha is
    twice that. ``every``: steps between checkpoints. ``longest``: tokens of question and answer; longer rows are left
    out.
    """

    kind: str
    base: str
    steps: int = 60
    batch: int = 32
    micro: int = 32
    rate: float = 1e-2
    beta: float = 0.1
    sft: float = 1.0
    rank: int = 8
    every: int = 20
    seed: int = 0
    longest: int = 512

    def __post_init__(self):
        if min(self.steps, self.batch, self.micro, self.rank, self.every) < 1:
            raise StudyError("steps, batch, micro, rank, every는 모두 1 이상으로 주세요.")
        if self.batch % self.micro:
            raise StudyError(f"배치 {self.batch}이(가) micro {self.micro}의 배수가 되게 바꾸세요.")
        if not (0 < self.rate < math.inf and 0 < self.beta < math.inf and 0 <= self.sft < math.inf):
            raise StudyError("rate와 beta는 0보다 크게, sft는 0 이상으로 주세요.")
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON gives them back."""
        return asdict(self)


def default(kind: str, base: str) -> Settings:
    """Return settings for a base: the small world learns in seconds, a real model in small bites."""
    if base == WORLD:
        return Settings(kind, base)
    return Settings(kind, base, steps=200, batch=8, micro=2, rate=1e-4, every=50)


def choose(options: argparse.Namespace) -> Settings:
    """Return the settings that the command line asks for.

    Raises:
        StudyError: if they cannot be.
    """
    base = options.base or pick(small=WORLD, full=FULL)
    names = ("steps", "batch", "micro", "rate", "beta", "sft", "rank", "every", "seed")
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    chosen = default(options.kind, base)
    if "batch" in given and "micro" not in given:
        given["micro"] = math.gcd(given["batch"], chosen.micro)
    return replace(chosen, **given)


def read_card(folder: str | Path) -> dict:
    """Return what a finished training left: ``settings``, ``data``, ``trainable``, ``final`` and more.

    Raises:
        StudyError: if the folder holds no finished training, or its card is damaged.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise StudyError(f"{folder}에 학습을 마친 모델이 없으니 sft나 dpo를 먼저 실행하세요.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not {"settings", "data", "final"} <= set(card):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise StudyError(f"{path}의 내용이 깨졌으니 --restart로 다시 학습하세요.") from None
    return card
