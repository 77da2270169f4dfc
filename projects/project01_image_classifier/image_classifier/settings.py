"""What a training run can be told."""

from dataclasses import asdict, dataclass

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.profile import pick

BACKBONES = ("small", "efficientnet", "lite0")


@dataclass(frozen=True)
class Settings:
    """Settings of a run; two runs with equal settings and pictures learn the same.

    ``backbone``: one of :data:`BACKBONES`. ``pretrained``: start from learnt weights and train in two stages.
    ``side``: pixels. ``epochs``: most epochs for (head, fine-tuning). ``patience``: epochs without a lower
    validation loss after which a stage ends.
    """

    backbone: str = "small"
    pretrained: bool = True
    side: int = 64
    batch: int = 32
    epochs: tuple[int, int] = (3, 15)
    patience: int = 5
    seed: int = 0

    def __post_init__(self):
        if self.backbone not in BACKBONES:
            raise StudyError(f"백본 {self.backbone!r}은(는) 없으니 {', '.join(BACKBONES)} 가운데 고르세요.")
        if not 32 <= self.side <= 512:
            raise StudyError(f"side={self.side}는 쓸 수 없으니 32에서 512 사이로 바꾸세요.")
        if min(self.batch, self.patience, *self.epochs) < 1:
            raise StudyError("batch, patience, epochs는 모두 1 이상으로 주세요.")
        cli.check_seed(self.seed)

    def as_json(self) -> dict:
        """Return the fields as JSON would give them back."""
        return {**asdict(self), "epochs": list(self.epochs)}


def default(backbone: str | None = None) -> Settings:
    """Return the settings for a backbone; ``None`` takes the profile's."""
    backbone = backbone or pick(small="small", full="efficientnet")
    if backbone == "efficientnet":
        return Settings("efficientnet", side=224, epochs=(6, 6), patience=3)
    if backbone == "lite0":
        return Settings("lite0", side=pick(small=96, full=224), epochs=(6, 6), patience=3)
    return Settings(backbone)
