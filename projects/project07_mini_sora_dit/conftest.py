"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import functools
import io

import numpy as np
import pytest
from PIL import Image

ARGUMENTS = "--side 8 --width 12 --depth 1 --heads 2 --autoencoder-width 4 --latent 2 --autoencoder-steps 40"
ARGUMENTS += " --autoencoder-batch 8 --autoencoder-rate 0.01 --steps 40 --batch 8 --rate 0.01 --every 20"


@pytest.fixture(scope="session")
def arguments():
    """Options of ``train`` with which two tiny networks take forty steps each."""
    return ARGUMENTS.split()


@pytest.fixture(scope="session")
def film():
    """A function (colour, seed, frames=20) → bytes of a GIF with a square that moves to the right."""

    def make(colour, seed, frames=20):
        rng, images = np.random.default_rng(seed), []
        top, start = rng.integers(2, 14), rng.integers(16)
        for time in range(frames):
            pixels = np.full((24, 24, 3), 20, np.uint8)
            left = (start + time) % 16
            pixels[top : top + 8, left : left + 8] = colour
            images.append(Image.fromarray(pixels))
        buffer = io.BytesIO()
        images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=80)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory, film):
    """A folder of 2 x 4 films, with one that is cut off, one that is too short, and a text."""
    root = tmp_path_factory.mktemp("영상")
    for name, colour in (("빨강", (220, 40, 40)), ("파랑", (40, 40, 220))):
        (root / name).mkdir()
        for number in range(4):
            (root / name / f"{number}.gif").write_bytes(film(colour, number))
    whole = film((1, 2, 3), 0)
    (root / "빨강" / "잘림.gif").write_bytes(whole[: len(whole) // 2])
    (root / "빨강" / "짧음.gif").write_bytes(film((1, 2, 3), 0, frames=3))
    (root / "파랑" / "글.gif").write_text("영상이 아닌 글", encoding="utf-8")
    return root


def roughen(*models):
    """Give networks weights that are random and none of them zero."""
    rng = np.random.default_rng(0)
    for model in models:
        for weight in model.trainable_weights:
            weight.assign(rng.normal(0, 0.2, weight.shape))


@pytest.fixture(scope="session")
def finished(folder, tmp_path_factory):
    """The folder of a model for the films of :func:`folder`, with random weights. Tests must not change it."""
    from mini_sora_dit import clips, networks, storage
    from mini_sora_dit.settings import Settings
    from tf_study import model_folder

    sizes = dict(side=8, width=12, depth=1, heads=2, autoencoder_width=4, latent=2)
    output = tmp_path_factory.mktemp("모델")
    card = storage.describe(clips.load(str(folder), 8, 9), Settings(**sizes))
    model, autoencoder = networks.transformer(card), networks.autoencoder(card)
    roughen(model, autoencoder)
    for name, network in ((storage.TRANSFORMER, model), (storage.AUTOENCODER, autoencoder)):
        model_folder.write_npz(output / name, map(np.asarray, network.weights))
    storage.write_card(output, card)
    return output


@pytest.fixture(scope="session")
def load():
    """Does what ``storage.load_animator`` does, once for each model: its steps are compiled once."""
    from mini_sora_dit import storage

    return functools.cache(storage.load_animator)


@pytest.fixture
def loaded_once(load, monkeypatch):
    """Commands draw with what :func:`load` has loaded."""
    from mini_sora_dit import storage

    monkeypatch.setattr(storage, "load_animator", load)


@pytest.fixture(scope="session")
def animator():
    """Draws with tiny networks whose weights are random and none of them zero."""
    from mini_sora_dit.sampling import Animator
    from tf_study.models.causal_vae import CausalAutoencoder
    from tf_study.models.video_dit import VideoDiT

    model, autoencoder = VideoDiT((3, 2, 2), 2, (3, 4), width=12, depth=1, heads=2), CausalAutoencoder(4, 2)
    roughen(model, autoencoder)
    return Animator(
        model, autoencoder, ("가", "나", "다"), ("왼쪽 위", "오른쪽 위", "왼쪽 아래", "오른쪽 아래")
    )
