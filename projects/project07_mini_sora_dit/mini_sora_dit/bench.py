"""What clips cost: frames a second and CPU time, by solver, guidance and length."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mini_sora_dit import storage
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import Wish
from tf_study import cli

BATCH = 16
SECONDS = 1.0  # that a measurement lasts at least


def run(folder: Path | None) -> Iterator[str]:
    """Yield the report: the machine, and a table of ways to draw.

    Args:
        folder: a finished model, or the course's for ``None``.
    """
    yield f"코어 {os.cpu_count()}개, 시작할 때의 부하 {os.getloadavg()[0]:.1f}"
    animator = storage.load_animator(folder)
    usual = animator.frames
    rows = [
        ("해법", "스텝", "가이던스", "프레임", "1편씩 프레임/초", f"{BATCH}편씩 프레임/초", "CPU ms/프레임")
    ]
    for wish in (
        Wish("euler", 2, 2.0),
        Wish("euler", 8, 1.0),
        Wish("euler", 8, 2.0),
        Wish("adams", 8, 2.0),
        Wish("euler", 8, 2.0, 4 * usual - 3),
    ):
        alone, _ = speed(animator, wish, 1)
        together, cpu = speed(animator, wish, BATCH)
        name = (wish.solver, f"{wish.steps}", f"{wish.guidance:g}", f"{wish.frames or usual}")
        rows.append((*name, f"{alone:.1f}", f"{together:.1f}", f"{1000 * cpu:.1f}"))
    yield cli.table(rows)
    yield f"끝날 때의 부하 {os.getloadavg()[0]:.1f}"


def speed(animator: Animator, wish: Wish, batch: int) -> tuple[float, float]:
    """Return frames a second and CPU seconds a frame, after a clip of one step to warm up."""
    labels = [[number % count for count in animator.model.labels] for number in range(batch)]
    seeds = list(range(batch))
    animator.draw(labels, seeds, Wish(wish.solver, 1, wish.guidance, wish.frames))
    done, begin, cpu = 0, time.perf_counter(), time.process_time()
    while done == 0 or time.perf_counter() - begin < SECONDS:
        done += animator.draw(labels, seeds, wish).shape[1] * batch
    return done / (time.perf_counter() - begin), (time.process_time() - cpu) / done
