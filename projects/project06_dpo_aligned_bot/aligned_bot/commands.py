"""What the commands of the command line do. Each takes the parsed options and prints its answer."""

import argparse

from tf_study import cli


def check_data(options: argparse.Namespace) -> None:
    """Say what is in a set and what was left out; write its parts."""
    from aligned_bot import data

    found = data.load(options.data)
    cli.print_skipped(found.skipped)
    print(data.table(found))
    if options.output:
        for path in data.save(found, options.output):
            print(path)


def train(options: argparse.Namespace) -> None:
    """Train an adapter, or go on with an interrupted training, and say where it is."""
    from aligned_bot import data, settings, training

    chosen = settings.choose(options)
    found = data.load(options.data)
    training.train(
        found, options.output, chosen, options.restart, report=lambda line: print(line, flush=True)
    )


def evaluate(options: argparse.Namespace) -> None:
    """Measure preferences, safety and what else the training may have changed."""
    from aligned_bot import evaluation

    evaluation.run(options)


def merge(options: argparse.Namespace) -> None:
    """Add an adapter to its base's weights and write one folder."""
    from aligned_bot import merging

    difference = merging.merge(options.model, options.output)
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file())
    print(f"{options.output}  {size / 1e6:,.1f} MB  로짓의 차이 {difference:.1e}")
    if kind := merging.engine_refuses(options.output):
        print(f"구조가 {kind}이므로 프로젝트 4에서는 vLLM 엔진으로만 열립니다.")


def card(options: argparse.Namespace) -> None:
    """Write the model card from what was measured."""
    from aligned_bot import card

    card.run(options)


def chat(options: argparse.Namespace) -> None:
    """Talk in the terminal."""
    from aligned_bot import chat

    chat.run(options)


def serve(options: argparse.Namespace) -> None:
    """Serve the page and its stream until Ctrl+C."""
    from aligned_bot import serving

    serving.run(options)
