"""What every sampler costs and what its pictures are worth, and what XLA changes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from diffusion_image_gen import evaluation, pictures, storage
from diffusion_image_gen.sampling import Painter
from diffusion_image_gen.settings import DEFAULT_STEPS, Wish
from tf_study import cli
from tf_study.environment import quiet_stderr

BATCH = 16
GUIDANCE = 1.0  # Other values change the pictures more than the samplers do.
SECONDS = 1.0  # that a measurement lasts at least


def run(folder: Path | None, count: int) -> Iterator[str]:
    """Yield the report: the machine, a table of samplers, and a table of XLA.

    Args:
        folder: a finished model, or the course's for ``None``.
        count: pictures whose quality is measured, the same seeds and classes for every sampler.
    """
    load, cores = os.getloadavg()[0], os.cpu_count()
    yield f"코어 {cores}개, 시작할 때의 부하 {load:.1f}, 가이던스 {GUIDANCE:g}, 품질은 그림 {count}장"
    painter = storage.load_painter(folder)
    data = pictures.load(storage.read_card(folder)["data"], painter.side)
    yardstick = evaluation.Yardstick(data, evaluation.load_judge(folder, data))
    rows = [("샘플러", "스텝", "1장씩 장/초", f"{BATCH}장씩 장/초", "CPU ms/장", "정확도", "프레셰 거리")]
    for sampler, steps in DEFAULT_STEPS.items():
        wish = Wish(sampler, steps, GUIDANCE)
        alone, _ = speed(painter, wish, 1)
        together, cpu = speed(painter, wish, BATCH)
        numbers = evaluation.evaluate(painter, yardstick, wish, count).numbers
        distance = f"{numbers['distance']:.2f} ± {numbers['error']:.2f}"
        cells = (sampler, f"{steps}", f"{alone:.2f}", f"{together:.2f}", f"{1000 * cpu:.0f}")
        rows.append((*cells, f"{numbers['accuracy']:.3f}", distance))
    yield cli.table(rows)
    rows = [("dpm 20스텝", "첫 그림 초", f"{BATCH}장씩 장/초", "CPU ms/장")]
    for name, xla in (("XLA 없이", False), ("XLA", True)):
        compiled = storage.load_painter(folder, xla)
        begin = time.perf_counter()
        with quiet_stderr():  # XLA reports that it has started.
            compiled.draw([0], [0], Wish("dpm", 20, GUIDANCE))
        first = time.perf_counter() - begin
        together, cpu = speed(compiled, Wish("dpm", 20, GUIDANCE), BATCH)
        rows.append((name, f"{first:.1f}", f"{together:.2f}", f"{1000 * cpu:.0f}"))
    yield cli.table(rows)
    yield f"끝날 때의 부하 {os.getloadavg()[0]:.1f}"


def speed(painter: Painter, wish: Wish, batch: int) -> tuple[float, float]:
    """Return pictures a second and CPU seconds a picture, after two steps to warm up."""
    labels, seeds = [number % len(painter.classes) for number in range(batch)], list(range(batch))
    painter.draw(labels, seeds, Wish(wish.sampler, 2, wish.guidance))
    done, begin, cpu = 0, time.perf_counter(), time.process_time()
    while done == 0 or time.perf_counter() - begin < SECONDS:
        painter.draw(labels, seeds, wish)
        done += batch
    return done / (time.perf_counter() - begin), (time.process_time() - cpu) / done
