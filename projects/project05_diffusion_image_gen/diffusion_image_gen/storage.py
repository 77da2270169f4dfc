"""A finished model's folder: weights, and the card that describes them. Without a folder: the model of the course."""

from pathlib import Path

from diffusion_image_gen.sampling import Painter
from tf_study import diffusion, model_folder
from tf_study.models.unet import UNet

WEIGHTS, JUDGE = "weights.npz", "judge.npz"
KEYS = {"classes": list, "side": int, "channels": int, "widths": list, "data": str, "files": dict}
BUILT_IN = {
    "classes": [str(digit) for digit in range(10)],
    "side": diffusion.SIDE,
    "channels": 1,
    "data": "mnist",
}


def write_card(folder: Path, card: dict) -> None:
    """Write the card with the digests of the weights and, if it is there, the judge."""
    model_folder.write_card(folder, card, (WEIGHTS, JUDGE))


def read_card(folder: Path | None) -> dict:
    """Return the card of a finished model, or of the course's for ``None``.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    return BUILT_IN if folder is None else model_folder.read_card(folder, KEYS)


def load_painter(folder: Path | None = None, xla: bool = False) -> Painter:
    """Return what draws with a finished model, or with the course's for ``None``.

    Raises:
        StudyError: as :func:`read_card`, or if the weights are not those that were saved.
    """
    card = read_card(folder)
    if folder is None:
        model = diffusion.load_unet()
    else:
        model = UNet(tuple(card["widths"]), len(card["classes"]), card["channels"])
        model_folder.load_weights(model, folder, card, WEIGHTS)
    return Painter(model, card["side"], card["classes"], xla)
