"""The web server: a page where a clip is asked for, and its drawing as server-sent events while it happens.

``tf_study.drawing_queue`` draws one clip at a time and lets the others wait.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from fastapi import FastAPI

from mini_sora_dit import clips, storage
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import (
    DEFAULT_STEPS,
    MOST_FRAMES,
    MOST_GUIDANCE,
    MOST_STEPS,
    Wish,
)
from tf_study import cli, drawing_queue, pictures, serving
from tf_study.drawing_queue import QUEUE

EVENTS = 12  # pictures sent of one drawing, at most
COLUMNS = 13  # frames in a row of the pictures
SHOWN = 224  # least side of a frame of the animation, in pixels
PAGE = Path(__file__).with_name("page.html")
FULL = f"만들고 있거나 기다리는 영상이 {QUEUE}편이니 잠시 뒤 다시 누르세요."
FIELDS = {"class": str, "direction": str, "frames": int, "seed": int, "steps": int, "guidance": (int, float)}


def create_app(animator: Animator) -> FastAPI:
    """Return the application for what draws.

    ``GET /`` is the page, ``GET /health`` answers also while clips are drawn. ``POST /draw`` takes JSON with ``class``,
    ``direction`` (empty for a model that knows none), ``frames``, ``seed``, ``steps`` and ``guidance`` and answers with
    events whose data is JSON: ``{"waiting": n}`` while n drawings are before it, then ``{"step", "steps", "strip": <data
    URI of a PNG with all frames so far>}``; the last has also ``film``, the data URI of a GIF. A refusal is ``{"detail":
    <a Korean sentence>}``.
    """
    page = serving.page(PAGE, _facts(animator))
    return drawing_queue.create_app(
        page, animator.classes, partial(Job, animator), partial(steps_of, animator), FULL
    )


def serve(folder: Path | None, host: str, port: int) -> None:
    """Serve a model, or the course's for ``None``, until Ctrl+C.

    Raises:
        StudyError: as :func:`storage.load_animator`, or if the address cannot be used.
    """
    serving.serve(lambda: create_app(storage.load_animator(folder)), host, port)


class Job(drawing_queue.Job):
    """One clip that somebody asked for.

    Raises:
        StudyError: if the request is not what it has to be.
    """

    def __init__(self, animator: Animator, body: bytes):
        super().__init__()
        asked = drawing_queue.read_fields(body, FIELDS)
        self.labels = animator.label(asked["class"], asked["direction"])
        self.seed = cli.check_seed(asked["seed"])
        self.wish = Wish("euler", asked["steps"], float(asked["guidance"]), asked["frames"])


def steps_of(animator: Animator, job: Job) -> Iterator[dict | None]:
    """Draw a job's clip; tell of about :data:`EVENTS` steps, the last with the animation."""
    for moment in animator.stream([job.labels], [job.seed], job.wish):
        last = moment.step == moment.steps
        if moment.step % -(-moment.steps // EVENTS) and not last:
            yield None
            continue
        film = animator.show(moment)[:, : job.wish.frames]
        news = {"step": moment.step, "steps": moment.steps, "strip": strip_uri(film)}
        yield news | ({"film": film_uri(film)} if last else {})


def strip_uri(film: np.ndarray) -> str:
    """Return the frames of one clip (1, T, H, W, C), :data:`COLUMNS` in a row, as the data URI of a PNG."""
    return serving.data_uri("png", pictures.png(pictures.grid(film[0], min(COLUMNS, film.shape[1]), scale=3)))


def film_uri(film: np.ndarray) -> str:
    """Return one clip (1, T, H, W, C), enlarged, as the data URI of a GIF."""
    scale = -(-SHOWN // film.shape[2])
    frames = [pictures.grid(film[:, t], 1, scale, gap=0) for t in range(film.shape[1])]
    return serving.data_uri("gif", clips.gif(frames))


def _facts(animator: Animator) -> dict:
    return {
        "classes": animator.classes,
        "directions": animator.directions,
        "frames": animator.frames,
        "most": MOST_FRAMES,
        "steps": DEFAULT_STEPS,
        "moststeps": MOST_STEPS,
        "guidance": MOST_GUIDANCE,
        "seeds": cli.SEEDS,
    }
