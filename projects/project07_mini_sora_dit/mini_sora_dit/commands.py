"""What the commands of the command line do. Each takes the parsed options and prints its answer."""

import argparse
from dataclasses import fields, replace

import numpy as np

from mini_sora_dit import clips, evaluation, settings, storage, training
from mini_sora_dit.settings import Settings, Wish
from tf_study import cli


def train(options: argparse.Namespace) -> None:
    """Find the clips, train, and say where the model is."""
    asked = {field.name: getattr(options, field.name, None) for field in fields(Settings)}
    chosen = replace(
        settings.default(options.data), **{name: value for name, value in asked.items() if value is not None}
    )
    data = clips.load(options.data, chosen.side, chosen.frames)
    cli.print_skipped(data.skipped)
    what = f"{len(data.train)}편" if isinstance(data, clips.Films) else "필요할 때 만듭니다"
    print(f"클래스 {len(data.classes)}개: {', '.join(data.classes)}. 영상 {what}", flush=True)
    if options.restart:
        training.clear(options.output)
    training.check_output(options.output, chosen, data)
    training.train(data, options.output, chosen, report=lambda line: print(line, flush=True))
    print(f"모델을 {options.output}에 저장했습니다.")


def sample(options: argparse.Namespace) -> None:
    """Draw clips, one row for every class and one column for every direction and seed."""
    wish = Wish(options.solver, options.steps, options.guidance, options.frames)
    last = cli.check_seed(options.seed) + options.count - 1
    cli.check_seed(last)
    for path in options.output:
        clips.check_format(path)
    animator = storage.load_animator(options.model)
    directions = options.direction or animator.directions or [""]
    asked = [
        animator.label(name, direction)
        for name in options.classes or animator.classes
        for direction in directions
    ]
    labels = np.repeat(asked, options.count, axis=0)
    numbers = list(range(options.seed, last + 1)) * len(asked)
    first = None
    if options.first:
        picture = clips.first_frame(options.first, animator.side, animator.autoencoder.channels)
        first = np.repeat(picture[None], len(labels), axis=0)
    drawn = animator.draw(labels, numbers, wish, first)
    for path in options.output:
        print(f"{path}: {clips.write(path, drawn, len(directions) * options.count)}")
    seeds = f"{last}" if options.count == 1 else f"{options.seed}~{last}"
    print(f"시드 {seeds}, {_how(wish)}, 가이던스 {wish.guidance:g}")


def evaluate(options: argparse.Namespace) -> None:
    """Print the report with its controls and write it; if asked, also quality against steps and length."""
    wish = Wish(options.solver, options.steps, options.guidance)
    for steps in options.sweep or ():
        Wish(steps=steps)
    for frames in options.lengths or ():
        Wish(frames=frames)
    cli.check_seed(cli.check_seed(options.seed) + options.count - 1)
    card = storage.read_card(options.model)
    yardstick = evaluation.Yardstick(card, options.count)
    animator = storage.load_animator(options.model)
    numbers, shown = evaluation.evaluate(animator, yardstick, wish, options.seed)
    print(f"영상 {options.count}편, {_how(wish)}, 가이던스 {wish.guidance:g}")
    print(cli.table([_HEAD, *((evaluation.ROWS[name], *_cells(row)) for name, row in numbers.items())]))
    written = evaluation.save(numbers, shown, options.output)
    if "progress" in card:
        written.append(options.output / "training.png")
        evaluation.write_figure(written[-1], evaluation.draw_training(card["progress"]))
    if options.sweep:
        found = evaluation.sweep(animator, yardstick, options.sweep, options.guidance, options.seed)
        lines = [(solver, f"{steps}", row) for solver, rows in found.items() for steps, row in rows.items()]
        print(cli.table([("해법", "스텝", *_HEAD[1:]), *((*name, *_cells(row)) for *name, row in lines)]))
        evaluation.write_json(options.output / "steps.json", found)
        evaluation.write_figure(options.output / "steps.png", evaluation.draw_sweep(found, yardstick))
        written += [options.output / "steps.json", options.output / "steps.png"]
    if options.lengths:
        found = evaluation.lengths(animator, yardstick, options.lengths, wish, options.seed)
        print(cli.table([("프레임", *_HEAD[1:-1]), *((f"{n}", *_scores(row)) for n, row in found.items())]))
        evaluation.write_json(options.output / "lengths.json", found)
        written.append(options.output / "lengths.json")
    for path in written:
        print(path)


def ablate(options: argparse.Namespace) -> None:
    """Train with every part, then without each, and print what the models are worth."""
    from mini_sora_dit import ablation

    chosen = replace(settings.SQUARE, steps=options.steps)
    for line in ablation.run(options.output, options.seeds, chosen):
        print(line, flush=True)


def export_model(options: argparse.Namespace) -> None:
    """Write a SavedModel with the solver inside, and say how it is called."""
    from mini_sora_dit import export

    wish = Wish(options.solver, options.steps)
    export.export(storage.load_animator(options.model), options.output, wish)
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file())
    print(f"{options.output}  {size / 1000:,.0f} kB  {_how(wish)}, 입력 labels, seeds, guidance (first)")


def serve(options: argparse.Namespace) -> None:
    """Serve the page and its stream until Ctrl+C."""
    from mini_sora_dit import serving  # Only this command needs a web framework.

    serving.serve(options.model, options.host, options.port)


def bench(options: argparse.Namespace) -> None:
    """Print how many frames a second are drawn."""
    from mini_sora_dit import bench as measure

    for line in measure.run(options.model):
        print(line, flush=True)


_HEAD = ("영상", "숫자 정확도", "같은 숫자", "움직임 오차", "방향", "프레셰 거리")


def _scores(row: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{row[name]:.3f}" for name in ("accuracy", "same", "motion", "direction"))


def _cells(row: dict[str, float]) -> tuple[str, ...]:
    return (*_scores(row), f"{row['distance']:.1f} ± {row['error']:.1f}")


def _how(wish: Wish) -> str:
    return f"해법 {wish.solver} {wish.steps}스텝"
