"""The web server: a page with sliders, and the denoising as server-sent events while it happens.

``tf_study.drawing_queue`` draws one picture at a time and lets the others wait.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from fastapi import FastAPI

from diffusion_image_gen import storage
from diffusion_image_gen.sampling import Painter
from diffusion_image_gen.settings import (
    DEFAULT_STEPS,
    MOST_GUIDANCE,
    MOST_STEPS,
    SAMPLERS,
    Wish,
)
from tf_study import cli, drawing_queue, pictures, serving
from tf_study.drawing_queue import QUEUE

EVENTS = 50  # pictures sent of one drawing, at most
SHOWN = 280  # least side of a picture that is sent, in pixels
PAGE = Path(__file__).with_name("page.html")
FULL = f"그리고 있거나 기다리는 그림이 {QUEUE}개이니 잠시 뒤 다시 누르세요."
FIELDS = {"class": str, "seed": int, "sampler": str, "steps": int, "guidance": (int, float)}


def create_app(painter: Painter) -> FastAPI:
    """Return the application for what draws.

    ``GET /`` is the page, ``GET /health`` answers also while pictures are drawn. ``POST /draw`` takes JSON with
    ``class``, ``seed``, ``sampler``, ``steps`` and ``guidance`` and answers with events whose data is JSON:
    ``{"waiting": n}`` while n drawings are before it, then ``{"step", "steps", "picture": <data URI of a PNG>}``; the
    last has ``step`` equal to ``steps``. A refusal is ``{"detail": <a Korean sentence>}``.
    """
    page = serving.page(PAGE, _facts(painter))
    return drawing_queue.create_app(
        page, painter.classes, partial(Job, painter), partial(steps_of, painter), FULL
    )


def serve(folder: Path | None, host: str, port: int) -> None:
    """Serve a model, or the course's for ``None``, until Ctrl+C.

    Raises:
        StudyError: as :func:`storage.load_painter`, or if the address cannot be used.
    """
    serving.serve(lambda: create_app(storage.load_painter(folder)), host, port)


class Job(drawing_queue.Job):
    """One picture that somebody asked for.

    Raises:
        StudyError: if the request is not what it has to be.
    """

    def __init__(self, painter: Painter, body: bytes):
        super().__init__()
        asked = drawing_queue.read_fields(body, FIELDS)
        self.label, self.seed = painter.label(asked["class"]), cli.check_seed(asked["seed"])
        self.wish = Wish(asked["sampler"], asked["steps"], float(asked["guidance"]))


def steps_of(painter: Painter, job: Job) -> Iterator[dict | None]:
    """Draw a job's picture; tell of :data:`EVENTS` steps at most."""
    steps = job.wish.steps
    every = -(-steps // EVENTS)
    for step, drawn in enumerate(painter.stream([job.label], [job.seed], job.wish), start=1):
        shown = step % every == 0 or step == steps
        yield {"step": step, "steps": steps, "picture": data_uri(drawn)} if shown else None


def data_uri(drawn: np.ndarray) -> str:
    """Return one picture (1, H, W, C), enlarged, as the data URI of a PNG."""
    scale = -(-SHOWN // drawn.shape[1])
    content = pictures.png(pictures.grid(np.clip(drawn, -1, 1), 1, scale, gap=0))
    return serving.data_uri("png", content)


def _facts(painter: Painter) -> dict:
    return {
        "classes": painter.classes,
        "samplers": {name: DEFAULT_STEPS[name] for name in SAMPLERS},
        "steps": MOST_STEPS,
        "guidance": MOST_GUIDANCE,
        "seeds": cli.SEEDS,
    }
