"""The web server: a page where a clip is asked for, and its drawing as server-sent events while it happens.

``tf_study.drawing_queue`` draws one clip at a time and lets the others wait.
"""

import base64
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from mini_sora_dit import clips, storage
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import (
    DEFAULT_STEPS,
    MOST_FRAMES,
    MOST_GUIDANCE,
    MOST_STEPS,
    SEEDS,
    Wish,
    check_seed,
)
from tf_study import drawing_queue, pictures, serving

QUEUE = 8  # drawings at a time: one that runs, the others waiting
EVENTS = 12  # pictures sent of one drawing, at most
COLUMNS = 13  # frames in a row of the pictures
SHOWN = 224  # least side of a frame of the animation, in pixels
MAX_BYTES = 4096  # of a request
PAGE = Path(__file__).with_name("page.html")
# The page needs nothing but itself and this server.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SENTENCES = {
    404: "그런 주소는 없으니 /, /health, /draw 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /와 /health는 GET으로, /draw는 POST로 요청하세요.",
    413: f"보낸 것이 한계 {MAX_BYTES // 2**10}kB를 넘으니 필요한 칸만 보내세요.",
    429: f"만들고 있거나 기다리는 영상이 {QUEUE}편이니 잠시 뒤 다시 누르세요.",
}
FIELDS = {"class": str, "direction": str, "frames": int, "seed": int, "steps": int, "guidance": (int, float)}


def create_app(animator: Animator) -> FastAPI:
    """Return the application for what draws.

    ``GET /`` is the page, ``GET /health`` answers also while clips are drawn. ``POST /draw`` takes JSON with ``class``,
    ``direction`` (empty for a model that knows none), ``frames``, ``seed``, ``steps`` and ``guidance`` and answers with
    events whose data is JSON: ``{"waiting": n}`` while n drawings are before it, then ``{"step", "steps", "strip": <data
    URI of a PNG with all frames so far>}``; the last has also ``film``, the data URI of a GIF. A refusal is ``{"detail":
    <a Korean sentence>}``.
    """
    app = serving.application(MAX_BYTES, SENTENCES)
    desk = drawing_queue.Desk(partial(steps_of, animator), QUEUE)
    page = PAGE.read_text(encoding="utf-8").replace("FACTS", json.dumps(_facts(animator), ensure_ascii=False))

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "classes": list(animator.classes), "drawing": len(desk.jobs)}

    @app.post("/draw")
    async def draw(request: Request) -> StreamingResponse:
        return desk.answer(Job(animator, await request.body()))

    return app


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
        self.seed = check_seed(asked["seed"])
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
    return _data_uri("png", pictures.png(pictures.grid(film[0], min(COLUMNS, film.shape[1]), scale=3)))


def film_uri(film: np.ndarray) -> str:
    """Return one clip (1, T, H, W, C), enlarged, as the data URI of a GIF."""
    scale = -(-SHOWN // film.shape[2])
    frames = [pictures.grid(film[:, t], 1, scale, gap=0) for t in range(film.shape[1])]
    return _data_uri("gif", clips.gif(frames))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def _facts(animator: Animator) -> dict:
    return {
        "classes": animator.classes,
        "directions": animator.directions,
        "frames": animator.frames,
        "most": MOST_FRAMES,
        "steps": DEFAULT_STEPS,
        "moststeps": MOST_STEPS,
        "guidance": MOST_GUIDANCE,
        "seeds": SEEDS,
    }
