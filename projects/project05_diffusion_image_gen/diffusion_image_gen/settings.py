"""What a training run can be told, and what a drawing can be asked for."""

import math
from dataclasses import asdict, dataclass

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick

SAMPLERS = ("ddpm", "ddim", "dpm")
DEFAULT_STEPS = {"ddpm": 1000, "ddim": 50, "dpm": 20}
MOST_STEPS = 1000
MOST_GUIDANCE = 20.0


@dataclass(frozen=True)
class Settings:
    """Settings of a run; two runs with equal settings and pictures learn the same.

    ``side``: pixels. ``widths``: channels of the UNet's levels; the side is halved between them. ``steps``: updates.
    ``drop``: share of labels hidden, for guidance. ``decay``: of the average of the weights. ``every``: steps between
    checkpoints. ``mixed``: compute in bfloat16. ``devices``: the batch is divided among so many.
    """

    side: int = 14
    widths: tuple[int, ...] = (16, 32)
    steps: int = 3000
    batch: int = 32
    rate: float = 2e-3
    drop: float = 0.1
    decay: float = 0.999
    seed: int = 0
    every: int = 500
    mixed: bool = False
    devices: int = 1

    def __post_init__(self):
        if not 7 <= self.side <= 64:
            raise StudyError(f"side={self.side}는 쓸 수 없으니 7에서 64 사이로 바꾸세요.")
        if not self.widths or any(width < 8 or width % 8 for width in self.widths):
            raise StudyError("widths는 8의 배수로 하나 이상 주세요.")
        if self.side % 2 ** (len(self.widths) - 1):
            raise StudyError(
                f"한 변 {self.side}을(를) {len(self.widths) - 1}번 반으로 줄일 수 없으니 side나 widths를 바꾸세요."
            )
        if min(self.steps, self.batch, self.every, self.devices) < 1:
            raise StudyError("steps, batch, every, devices는 모두 1 이상으로 주세요.")
        if self.batch % self.devices:
            raise StudyError(
                f"배치 {self.batch}을(를) 장치 {self.devices}개에 똑같이 나눌 수 없으니 배수로 바꾸세요."
            )
        if not (0 < self.rate < math.inf and 0 <= self.drop < 1 and 0 <= self.decay < 1):
            raise StudyError("rate는 0보다 크게, drop과 decay는 0 이상 1 미만으로 주세요.")
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON would give them back."""
        return {**asdict(self), "widths": list(self.widths)}


def default() -> Settings:
    """Return the profile's settings: minutes on two cores, or hours on a graphics card."""
    return pick(
        small=Settings(),
        full=Settings(
            side=32, widths=(64, 128, 128), steps=60_000, batch=128, rate=3e-4, decay=0.9995, every=2000
        ),
    )


@dataclass(frozen=True)
class Wish:
    """How pictures are to be drawn; what cannot be done is refused when it is made."""

    sampler: str = "dpm"
    steps: int | None = None
    guidance: float = 2.0

    def __post_init__(self):
        if self.sampler not in SAMPLERS:
            raise StudyError(f"샘플러 {self.sampler!r}은(는) 없으니 {', '.join(SAMPLERS)} 가운데 고르세요.")
        if self.steps is None:
            object.__setattr__(self, "steps", DEFAULT_STEPS[self.sampler])
        least = 2 if self.sampler == "dpm" else 1
        if not least <= self.steps <= MOST_STEPS:
            raise StudyError(
                f"스텝 {self.steps}은(는) 쓸 수 없으니 {least}에서 {MOST_STEPS} 사이로 바꾸세요."
            )
        if not 0 <= self.guidance <= MOST_GUIDANCE:
            raise StudyError(
                f"가이던스 {self.guidance:g}은(는) 쓸 수 없으니 0에서 {MOST_GUIDANCE:g} 사이로 바꾸세요."
            )
