"""What the commands of the command line do. Each takes the parsed options and prints its answer."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffusion_image_gen import evaluation, pictures, settings, storage, training
from diffusion_image_gen.settings import Wish
from tf_study import cli
from tf_study import pictures as files
from tf_study.errors import StudyError

FRAMES = 40  # of an animation, at most


def train(options: argparse.Namespace) -> None:
    """Read the pictures, train, and say where the model is."""
    given = {
        name: getattr(options, name)
        for name in ("side", "steps", "batch", "rate", "every", "seed", "devices")
    }
    given |= {
        "widths": tuple(options.widths) if options.widths else None,
        "mixed": options.mixed_precision or None,
    }
    chosen = replace(
        settings.default(), **{name: value for name, value in given.items() if value is not None}
    )
    data = pictures.load(options.data, chosen.side)
    cli.print_skipped(data.skipped)
    print(f"클래스 {len(data.classes)}개, 그림 {len(data.train)}장: {', '.join(data.classes)}", flush=True)
    if options.restart:
        training.clear(options.output)
    training.check_output(options.output, chosen, data)
    training.train(data, options.output, chosen, report=lambda line: print(line, flush=True))
    print(f"모델을 {options.output}에 저장했습니다.")


def sample(options: argparse.Namespace) -> None:
    """Draw a grid, one row for every class and guidance and one column for every seed, and its animation."""
    wishes = [Wish(options.sampler, options.steps, guidance) for guidance in options.guidance]
    painter = storage.load_painter(options.model)
    labels = [painter.label(name) for name in options.classes or painter.classes]
    cli.check_seed(options.seed + options.count - 1)
    columns = list(range(cli.check_seed(options.seed), options.seed + options.count))
    chosen, seeds = np.repeat(labels, len(columns)), columns * len(labels)
    step = -(-wishes[0].steps // FRAMES)
    films = []  # one a guidance, each of as many frames (B, H, W, C)
    for wish in wishes:
        frames = list(painter.stream(chosen, seeds, wish))
        films.append([np.clip(frame, -1, 1) for frame in [*frames[:-1:step], frames[-1]]])
    sheets = [files.grid(_by_class(moment, len(labels)), len(columns)) for moment in zip(*films, strict=True)]
    files.write(options.output, files.png(sheets[-1]))
    print(f"{options.output}: {_rows(options, painter)}, 시드 {columns[0]}~{columns[-1]}, {_how(wishes[0])}")
    if options.gif:
        files.write(options.gif, files.gif(sheets))
        print(f"{options.gif}: 그려지는 과정 {len(sheets)}장")


def evaluate(options: argparse.Namespace) -> None:
    """Print the report and write it with pictures and their nearest training pictures."""
    wish = Wish(options.sampler, options.steps, options.guidance)
    card = storage.read_card(options.model)
    painter = storage.load_painter(options.model)
    data = pictures.load(options.data or card["data"], card["side"])
    if data.classes != painter.classes or data.channels != card["channels"]:
        raise StudyError("데이터의 클래스나 색이 모델과 다르니 학습한 데이터를 --data로 주세요.")
    yardstick = evaluation.Yardstick(data, evaluation.load_judge(options.model, data))
    report = evaluation.evaluate(painter, yardstick, wish, options.count, cli.check_seed(options.seed))
    numbers = report.numbers
    rows = [
        ("잰 것", "값", "비교할 값"),
        ("클래스 정확도", f"{numbers['accuracy']:.3f}", f"진짜 그림 {numbers['judge']:.3f}"),
        (
            "프레셰 거리",
            f"{numbers['distance']:.2f} ± {numbers['error']:.2f}",
            f"진짜 그림 {numbers['floor']:.2f}",
        ),
        ("정밀도", f"{numbers['precision']:.3f}", ""),
        ("재현율", f"{numbers['recall']:.3f}", ""),
        ("베낀 비율", f"{numbers['copies']:.3f}", f"진짜 그림 {evaluation.COPY_QUANTILE:.3f}"),
    ]
    print(f"그림 {options.count}장, {_how(wish)}, 가이던스 {wish.guidance:g}")
    print(cli.table(rows, widths=(16, 16, 16)))
    for path in evaluation.save(report, data.train, options.output):
        print(path)


def export_model(options: argparse.Namespace) -> None:
    """Write a SavedModel with the sampler inside, and say how it is called."""
    from diffusion_image_gen import export

    wish = Wish(options.sampler, options.steps)
    export.export(storage.load_painter(options.model), options.output, wish)
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file())
    print(f"{options.output}  {size / 1000:,.0f} kB  {_how(wish)}, 입력 labels, seeds, guidance")


def serve(options: argparse.Namespace) -> None:
    """Serve the page and its stream until Ctrl+C."""
    from diffusion_image_gen import serving  # Only this command needs a web framework.

    serving.serve(options.model, options.host, options.port)


def bench(options: argparse.Namespace) -> None:
    """Print what every sampler costs and what its pictures are worth."""
    from diffusion_image_gen import bench as measure

    for line in measure.run(options.model, options.count):
        print(line, flush=True)


def _by_class(drawn: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Pictures of several guidances, each (classes * seeds, H, W, C), → one after the other, class by class."""
    shape = drawn[0].shape[1:]
    return np.stack([part.reshape(classes, -1, *shape) for part in drawn], 1).reshape(-1, *shape)


def _how(wish: Wish) -> str:
    return f"샘플러 {wish.sampler} {wish.steps}스텝"


def _rows(options: argparse.Namespace, painter) -> str:
    names = ", ".join(options.classes or painter.classes)
    return f"클래스 {names}, 가이던스 {', '.join(f'{value:g}' for value in options.guidance)}"
