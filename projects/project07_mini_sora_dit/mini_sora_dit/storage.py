"""A finished model's folder: two networks' weights, and the card. Without a folder: the model of the course."""

from pathlib import Path

from mini_sora_dit import clips, networks
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import Settings
from tf_study import model_folder, video

AUTOENCODER, TRANSFORMER = "autoencoder.npz", "transformer.npz"
SIZES = ("side", "frames", "autoencoder_width", "latent", "width", "depth", "heads")
KEYS = {"classes": list, "directions": list, "channels": int, "without": str, "data": str, "files": dict}
KEYS |= {name: int for name in SIZES}


def describe(data: clips.Digits | clips.Square | clips.Films, settings: Settings) -> dict:
    """Return what a card says of the networks and of what they know."""
    return {
        "classes": list(data.classes),
        "directions": list(data.directions),
        "channels": data.channels,
        "data": data.source,
        "without": settings.without,
        **{name: getattr(settings, name) for name in SIZES},
    }


def write_card(folder: Path, card: dict) -> None:
    """Write the card with the digests of the weights."""
    model_folder.write_card(folder, card, (AUTOENCODER, TRANSFORMER))


def read_card(folder: Path | None) -> dict:
    """Return the card of a finished model, or of the course's for ``None``.

    Raises:
        StudyError: if the folder holds no finished model or its card is damaged.
    """
    if folder is None:
        settings = Settings()
        return describe(clips.Digits(settings.side, settings.frames), settings)
    return model_folder.read_card(folder, KEYS)


def load_animator(folder: Path | None = None) -> Animator:
    """Return what draws with a finished model, or with the course's for ``None``.

    Raises:
        StudyError: as :func:`read_card`, or if the weights are not those that were saved.
    """
    card = read_card(folder)
    if folder is None:
        return Animator(video.load_dit(), video.load_autoencoder(), card["classes"], card["directions"])
    model, autoencoder = networks.transformer(card), networks.autoencoder(card)
    model_folder.load_weights(model, folder, card, TRANSFORMER)
    model_folder.load_weights(autoencoder, folder, card, AUTOENCODER)
    return Animator(model, autoencoder, card["classes"], card["directions"])
