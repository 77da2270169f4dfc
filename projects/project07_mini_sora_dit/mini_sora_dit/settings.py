"""What a training run can be told, and what a drawing can be asked for."""

import math
from dataclasses import asdict, dataclass

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick

SOLVERS = ("euler", "adams")
DEFAULT_STEPS, MOST_STEPS = 8, 200
MOST_GUIDANCE = 20.0
MOST_FRAMES = 65
WITHOUT = {  # parts of the transformer that can be left out
    "time": "시간 어텐션 없음",
    "rope": "위치 회전 없음",
    "zero": "0으로 초기화하지 않음",
}


@dataclass(frozen=True)
class Settings:
    """Settings of a run; two runs with equal settings and clips learn the same.

    ``side``, ``frames``: of a clip. ``autoencoder_width``, ``latent``: of the autoencoder, which takes
    ``autoencoder_steps``; with 0 it is the course's. ``width``, ``depth``, ``heads``: of the transformer, which takes
    ``steps``. ``drop``: share of labels hidden, for guidance. ``given``: share of clips whose first frame is shown.
    ``decay``: of the average of the weights. ``every``: steps between checkpoints. ``devices``: the batch is divided
    among so many. ``without``: a part that is left out, of :data:`WITHOUT`.
    """

    side: int = 16
    frames: int = 9
    autoencoder_width: int = 24
    latent: int = 4
    autoencoder_steps: int = 3000
    autoencoder_batch: int = 16
    autoencoder_rate: float = 3e-3
    width: int = 96
    depth: int = 4
    heads: int = 4
    steps: int = 5000
    batch: int = 32
    rate: float = 2e-3
    drop: float = 0.1
    given: float = 0.5
    decay: float = 0.998
    seed: int = 0
    every: int = 500
    devices: int = 1
    without: str = ""

    def __post_init__(self):
        if not 8 <= self.side <= 64 or self.side % 4:
            raise StudyError(f"side={self.side}는 쓸 수 없으니 8에서 64 사이의 4의 배수로 바꾸세요.")
        if not 9 <= self.frames <= MOST_FRAMES or self.frames % 4 != 1:
            raise StudyError(
                f"frames={self.frames}는 쓸 수 없으니 9, 13, 17처럼 4의 배수보다 하나 크고 {MOST_FRAMES} 이하인 "
                "수로 바꾸세요."
            )
        counts = ("autoencoder_batch", "latent", "depth", "heads", "steps", "batch", "every", "devices")
        if min(getattr(self, name) for name in counts) < 1 or self.autoencoder_steps < 0:
            raise StudyError(f"{', '.join(counts)}은(는) 1 이상으로, autoencoder_steps는 0 이상으로 주세요.")
        if self.autoencoder_width < 2 or self.autoencoder_width % 2:
            raise StudyError("autoencoder_width는 2 이상의 짝수로 주세요.")
        if self.width < 1 or self.width % (6 * self.heads):
            raise StudyError(
                f"width={self.width}는 세 축의 회전에 나눌 수 없으니 heads의 6배({6 * self.heads})의 배수로 "
                "바꾸세요."
            )
        if self.batch % self.devices or self.autoencoder_batch % self.devices:
            raise StudyError(
                f"배치 {self.batch}와 {self.autoencoder_batch}을(를) 장치 {self.devices}개에 똑같이 나눌 수 "
                "없으니 배수로 바꾸세요."
            )
        rates = 0 < self.rate < math.inf and 0 < self.autoencoder_rate < math.inf
        if not (rates and 0 <= self.drop < 1 and 0 <= self.given <= 1 and 0 <= self.decay < 1):
            raise StudyError("학습률은 0보다 크게, drop과 decay는 0 이상 1 미만, given은 1 이하로 주세요.")
        if self.without and self.without not in WITHOUT:
            raise StudyError(
                f"뺄 수 있는 부분에 {self.without!r}은(는) 없으니 {', '.join(WITHOUT)} 가운데 고르세요."
            )
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON would give them back."""
        return asdict(self)


@dataclass(frozen=True)
class Wish:
    """How clips are to be drawn; what cannot be done is refused when it is made.

    ``frames``: length of the clip, ``None`` for what the model was trained on.
    """

    solver: str = "euler"
    steps: int = DEFAULT_STEPS
    guidance: float = 2.0
    frames: int | None = None

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise StudyError(f"해법 {self.solver!r}은(는) 없으니 {', '.join(SOLVERS)} 가운데 고르세요.")
        if not 1 <= self.steps <= MOST_STEPS:
            raise StudyError(f"스텝 {self.steps}은(는) 쓸 수 없으니 1에서 {MOST_STEPS} 사이로 바꾸세요.")
        if not 0 <= self.guidance <= MOST_GUIDANCE:
            raise StudyError(
                f"가이던스 {self.guidance:g}은(는) 쓸 수 없으니 0에서 {MOST_GUIDANCE:g} 사이로 바꾸세요."
            )
        if self.frames is not None and not 1 <= self.frames <= MOST_FRAMES:
            raise StudyError(f"길이 {self.frames}은(는) 쓸 수 없으니 1에서 {MOST_FRAMES} 사이로 바꾸세요.")


SQUARE = Settings(
    side=8,
    autoencoder_width=16,
    autoencoder_steps=300,
    autoencoder_batch=8,
    width=48,
    depth=2,
    steps=500,
    batch=16,
    rate=5e-3,
    decay=0.99,
    every=250,
)


def default(source: str = "") -> Settings:
    """Return the settings for a source of clips: half a minute for the moving square; for others the profile's,
    minutes on two cores, or hours on a graphics card.
    """
    if source == "square":
        return SQUARE
    return pick(
        small=Settings(),
        full=Settings(
            side=32,
            frames=17,
            autoencoder_width=64,
            latent=8,
            autoencoder_steps=20_000,
            autoencoder_batch=64,
            autoencoder_rate=1e-3,
            width=384,
            depth=8,
            heads=8,
            steps=60_000,
            batch=128,
            rate=5e-4,
            decay=0.9995,
            every=2000,
        ),
    )
