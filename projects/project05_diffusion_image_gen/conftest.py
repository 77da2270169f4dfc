"""Fixtures of the project's tests. Its presence also puts this folder on sys.path."""

import contextlib
import io
import shutil

import numpy as np
import pytest
from PIL import Image

COLOURS = {"빨강": (220, 40, 40), "파랑": (40, 40, 220)}
ARGUMENTS = [
    "--side",
    "8",
    "--widths",
    "8",
    "--steps",
    "60",
    "--batch",
    "16",
    "--rate",
    "0.01",
    "--every",
    "30",
]


@pytest.fixture(scope="session")
def arguments():
    """Options of ``train`` with which a tiny network takes sixty steps."""
    return list(ARGUMENTS)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of 2 x 20 noisy colours in various sizes, with a file that is no picture and one cut off."""
    root = tmp_path_factory.mktemp("사진")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(20):
            size = (*rng.integers(10, 30, 2), 3)
            pixels = np.clip(rng.normal(colour, 25, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    whole = (root / "빨강" / "00.png").read_bytes()
    (root / "빨강" / "잘림.png").write_bytes(whole[: len(whole) // 2])
    (root / "파랑" / "글.jpg").write_text("그림이 아닌 글", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def finished(folder, tmp_path_factory):
    """The folder of a model for the colours of :func:`folder`, with random weights. Tests must not change it."""
    from diffusion_image_gen_tiny import roughen

    from diffusion_image_gen import storage
    from tf_study import model_folder
    from tf_study.models.unet import UNet

    output, classes = tmp_path_factory.mktemp("모델"), list(COLOURS)
    weights = map(np.asarray, roughen(UNet((8,), len(classes), 3)).weights)
    model_folder.write_npz(output / storage.WEIGHTS, weights)
    card = {"classes": classes, "side": 8, "channels": 3, "widths": [8], "data": str(folder)}
    storage.write_card(output, card)
    return output


@pytest.fixture(scope="session")
def loaded(finished):
    """Draws with the model of :func:`finished`; its steps are compiled once."""
    from diffusion_image_gen import storage

    return storage.load_painter(finished)


@pytest.fixture(scope="session")
def evaluated(finished, loaded, tmp_path_factory):
    """What the command ``evaluate`` does: the model's folder, a copy, the folder that it writes, and what it says."""
    from diffusion_image_gen import evaluation, storage
    from diffusion_image_gen.__main__ import main
    from tf_study.checks.eager import eagerly

    train_judge = evaluation.train_judge

    def train_without_graph(*arguments):
        with eagerly():
            train_judge(*arguments)

    model, output = (tmp_path_factory.mktemp("평가") / name for name in ("모델", "평가"))
    shutil.copytree(finished, model)
    command = ["evaluate", str(model), "--output", str(output), "--count", "20", "--steps", "2"]
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(told):
        patch.setattr(storage, "load_painter", lambda folder: loaded)  # Its steps are compiled already.
        patch.setattr(evaluation, "train_judge", train_without_graph)
        assert main(command) == 0
    return model, output, told.getvalue()


@pytest.fixture(scope="session")
def painter():
    """Draws grey pictures with the network of :mod:`diffusion_image_gen_tiny`."""
    from diffusion_image_gen_tiny import Tiny, roughen

    from diffusion_image_gen.sampling import Painter

    return Painter(roughen(Tiny((8,), 3, 1)), 8, ("가", "나", "다"))
