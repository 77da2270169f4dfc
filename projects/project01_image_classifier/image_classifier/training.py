"""Training in stages, with early stopping, that goes on after an interruption where it was.

After every epoch the whole model, optimizer included, goes to ``checkpoints/epoch-NNNN.keras`` and then
``state.json`` names it. Each file is put in place in one step, the state last, so that whatever moment the
program is killed at, the state names whole files. All else follows from the state's ``history``: which
stage is next, which epoch was best, how long ago.
"""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from image_classifier import dataset, export, storage
from image_classifier import model as models
from image_classifier.dataset import Folder
from image_classifier.settings import Settings
from tf_study import cli
from tf_study.environment import seed_everything
from tf_study.errors import StudyError

CHECKPOINTS = "checkpoints"
SAMPLES = 128  # training pictures kept for the quantisation of an export

Report = Callable[[str], None]


def check_output(output: Path, settings: Settings) -> None:
    """Refuse an output folder that training would spoil.

    Raises:
        StudyError: if it holds a finished model, or an unfinished run with other settings.
    """
    if (output / storage.CARD).exists() and not (output / storage.STATE).exists():
        raise StudyError(
            f"{output}에 학습을 마친 모델이 있으니 다른 폴더를 주거나 --restart로 다시 학습하세요."
        )
    if (output / storage.STATE).exists():
        state = storage.read_json(output / storage.STATE)
        if state.get("settings") != settings.as_json():
            raise StudyError(
                f"{output}에 다른 설정으로 하던 학습이 있으니 그 설정으로 잇거나 --restart를 주세요."
            )


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not. Its pictures are elsewhere."""
    for name in (storage.CARD, storage.STATE):  # First, so that nothing claims that the rest is whole.
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)


def train(folder: Folder, output: Path, settings: Settings, report: Report = print) -> dict:
    """Train a classifier, or go on with an interrupted training, and write the finished model.

    Args:
        folder: pictures of ``settings.side`` pixels, from :func:`dataset.scan`.
        output: folder of the model, made when missing; checked by :func:`check_output`.
        report: called with each line of progress.

    Returns:
        The card, as :func:`storage.read_card` reads it.

    Raises:
        StudyError: if the interrupted training used other pictures, a file cannot be written, or the loss
            is no longer a number.
    """
    seed_everything(settings.seed)
    parts = dataset.split(folder.labels, settings.seed)
    state = {"settings": settings.as_json(), "fingerprint": folder.fingerprint(), "history": []}
    if (output / storage.STATE).exists():
        saved = storage.read_json(output / storage.STATE)
        if saved.get("fingerprint") != state["fingerprint"]:
            raise StudyError("그림 폴더가 중단한 때와 다르니 되돌리거나 --restart로 다시 학습하세요.")
        state = saved
        report(f"중단한 학습을 잇습니다. 마친 에포크: {len(state['history'])}")
    elif settings.pretrained:
        report("사전 학습한 백본을 준비합니다.")
    history = state["history"]
    held_out = dataset.batches(folder, parts["val"], settings.batch)
    for index, stage in enumerate(models.stages(settings)):
        model = None
        while not _over(history, index, stage.epochs, settings.patience):
            if model is None:
                model = _model_for(history, index, stage, folder, parts, output, settings)
            number = len(history) + 1
            learnt = dataset.batches(folder, parts["train"], settings.batch, order=(settings.seed, number))
            models.reseed(model, settings.seed + number)
            history.append(_epoch(model, history, index, learnt, held_out))
            _save(model, state, output)
            report(_line(stage, history[-1]))
    return _finish(state, folder, parts, output)


def best(history: list[dict]) -> dict:
    """Return the entry with the lowest validation loss, the first of equals."""
    return min(history, key=lambda entry: entry["val_loss"])


def _over(history, index, epochs, patience) -> bool:
    """Say whether stage ``index`` is done: all its epochs, or ``patience`` without a better one."""
    done = [entry for entry in history if entry["stage"] == index]
    return len(done) >= epochs or (bool(done) and len(done) - 1 - done.index(best(done)) >= patience)


def _model_for(history, index, stage, folder, parts, output, settings) -> keras.Model:
    """Return the model with which the next epoch of the stage begins."""
    if history and history[-1]["stage"] == index:
        return _load(output, history[-1])
    if history:  # A new stage starts from the best epoch of those before.
        model = _load(output, best(history))
    else:
        model = models.build(settings, len(folder.classes))
    models.prepare(model, stage, math.ceil(len(parts["train"]) / settings.batch))
    return model


def _epoch(model, history, index, learnt, held_out) -> dict:
    log = model.fit(learnt, validation_data=held_out, shuffle=False, verbose=0).history
    scores = {name: float(values[0]) for name, values in log.items()}
    if not all(map(math.isfinite, scores.values())):
        raise StudyError("손실이 수가 아니게 되었으니 --batch를 키우고 --restart로 다시 학습하세요.")
    done = sum(entry["stage"] == index for entry in history)
    return {"stage": index, "epoch": done + 1, "file": f"epoch-{len(history) + 1:04d}.keras", **scores}


def _save(model, state, output) -> None:
    """Store the epoch just trained, then forget the checkpoints that nothing needs any more."""
    history = state["history"]
    cli.write(output / CHECKPOINTS / history[-1]["file"], model.save)
    storage.write_json(output / storage.STATE, state)
    needed = {history[-1]["file"], best(history)["file"]}
    needed.add(best([entry for entry in history if entry["stage"] == history[-1]["stage"]])["file"])
    for path in (output / CHECKPOINTS).iterdir():
        if path.name not in needed:
            os.remove(path)


def _load(output, entry) -> keras.Model:
    path = output / CHECKPOINTS / entry["file"]
    try:
        return keras.models.load_model(path)
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{path}이(가) 없거나 깨졌으니 --restart로 다시 학습하세요.") from None


def _line(stage, entry) -> str:
    return (
        f"[{stage.title}] {entry['epoch']}/{stage.epochs}"
        f"  손실 {entry['loss']:.3f}  정확도 {entry['accuracy']:.3f}"
        f"  검증 손실 {entry['val_loss']:.3f}  검증 정확도 {entry['val_accuracy']:.3f}"
    )


def _finish(state, folder, parts, output) -> dict:
    """Write the best epoch in every format, the card last, and remove what was for resuming."""
    settings, history = state["settings"], state["history"]
    model = models.deployable(_load(output, best(history)))
    chosen = np.random.default_rng(settings["seed"]).permutation(parts["train"])[:SAMPLES]
    card = {
        "classes": list(folder.classes),
        "side": settings["side"],
        "settings": settings,
        "data": str(folder.root.resolve()),
        "split": {name: [folder.files[row] for row in rows] for name, rows in parts.items()},
        "skipped": [list(pair) for pair in folder.skipped],
        "history": history,
        "best": best(history),
    }
    card["files"] = export.write_all(model, folder.pictures[np.sort(chosen)], output)
    storage.write_json(output / storage.CARD, card)
    (output / storage.STATE).unlink()
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    return card
