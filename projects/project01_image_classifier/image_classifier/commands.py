"""What the commands of the command line do. Each takes the parsed options and prints its answer."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from image_classifier import dataset, evaluation, export, images, prediction, settings, storage, training
from tf_study import cli
from tf_study.errors import StudyError


def train(options: argparse.Namespace) -> None:
    """Scan the folder, train, export, and say how well each format does on the test part."""
    chosen = _settings(options)
    if not options.restart:
        training.check_output(options.output, chosen)
    folder = dataset.scan(options.folder, chosen.side)
    cli.print_skipped(folder.skipped)
    print(
        f"클래스 {len(folder.classes)}개, 그림 {len(folder.files)}장: {', '.join(folder.classes)}", flush=True
    )
    if options.restart:
        training.clear(options.output)
    training.train(folder, options.output, chosen, report=lambda line: print(line, flush=True))
    print(f"모델을 {options.output}에 저장했습니다.")
    card = storage.read_card(options.output)
    print(_comparison(options.output, card, _test_part_of(folder, card)))


def evaluate(options: argparse.Namespace) -> None:
    """Print the report and write it with the confusion matrix and the worst mistakes as pictures."""
    card = storage.read_card(options.model)
    predictor = prediction.load_predictor(options.model, options.format)
    folder = evaluation.test_part(card, options.folder)
    cli.print_skipped(folder.skipped)
    result = evaluation.evaluate(predictor, folder)
    print(result.text)
    print(_comparison(options.model, card, folder))
    output = options.output or options.model / "evaluation"
    for path in evaluation.save(result, folder, output):
        print(path)


def export_model(options: argparse.Namespace) -> None:
    """Write the chosen formats and their sizes."""
    output = options.output or options.model
    export.export(options.model, output, options.formats)
    for name in options.formats:
        path = output / storage.FILES[name]
        print(f"{path}  {path.stat().st_size / 1000:,.0f} kB")


def predict(options: argparse.Namespace) -> None:
    """Print the likeliest classes of every file as a table or as JSON.

    Raises:
        StudyError: if not one file could be read.
    """
    predictor = prediction.load_predictor(options.model, options.format)
    paths, skipped = [], []
    for path in options.paths:
        found, closed = images.find(path) if os.path.isdir(path) else ([path], [])
        paths += found
        skipped += [(str(path), reason) for path, reason in closed]
        if os.path.isdir(path) and not found and not closed:
            skipped.append((str(path), "빈 폴더이니 그림을 넣거나 다른 폴더를 주세요."))
    results = []
    for path, row in prediction.predict_files(predictor, paths):
        if isinstance(row, StudyError):
            skipped.append((str(path), str(row)))
        else:
            results.append((str(path), predictor.top(row, options.top)))
    if options.json:
        print(json.dumps(_as_json(results, skipped), ensure_ascii=False, indent=1))
    elif results:
        print(_table(results))
    cli.print_skipped(skipped)
    if not results:
        raise StudyError("분류할 수 있는 그림이 하나도 없으니 JPEG, PNG, WebP 파일이나 폴더를 주세요.")


def serve(options: argparse.Namespace) -> None:
    """Serve the page and its JSON until Ctrl+C."""
    from image_classifier import serving  # Only this command needs a web framework.

    serving.serve(options.model, options.host, options.port)


def _settings(options: argparse.Namespace) -> settings.Settings:
    """Return the backbone's defaults with what the command line says otherwise."""
    given = {name: getattr(options, name) for name in ("side", "batch", "patience", "seed")}
    given["epochs"] = tuple(options.epochs) if options.epochs else None
    given = {name: value for name, value in given.items() if value is not None}
    return replace(settings.default(options.backbone), pretrained=not options.scratch, **given)


def _test_part_of(folder: dataset.Folder, card: dict) -> dataset.Folder:
    """Return the test part of a folder that is already in memory."""
    rows = [folder.files.index(name) for name in card["split"]["test"]]
    return replace(
        folder,
        files=tuple(card["split"]["test"]),
        labels=folder.labels[rows],
        pictures=folder.pictures[rows],
        skipped=[],
    )


def _comparison(model: Path, card: dict, folder: dataset.Folder) -> str:
    """Return a table of accuracy, agreement, size and latency of the formats that the model has."""
    names = [name for name, file in storage.FILES.items() if file in card["files"]]
    rows = evaluation.compare({name: prediction.load_predictor(model, name) for name in names}, folder)
    head = f"형식 비교 (그림 {len(folder.files)}장, 일치는 {names[0]}와 같은 답의 비율)"
    table = [("형식", "정확도", "일치", "크기 kB", "한 장 ms")]
    for name, row in rows.items():
        size = (model / storage.FILES[name]).stat().st_size / 1000
        cells = (
            name,
            f"{row['accuracy']:.3f}",
            f"{row['agreement']:.3f}",
            f"{size:,.0f}",
            f"{row['latency']:.2f}",
        )
        table.append(cells)
    return f"{head}\n{cli.table(table, widths=(8, 8, 8, 10, 8))}"


def _table(results: Sequence[tuple[str, list[tuple[str, float]]]]) -> str:
    cells = [(path, *(f"{name} {share:.1%}" for name, share in top)) for path, top in results]
    head = ("파일", *(f"{place}위" for place in range(1, len(cells[0]))))
    return cli.table([head, *cells])


def _as_json(results, skipped) -> dict:
    return {
        "results": [
            {
                "file": path,
                "predictions": [{"class": name, "probability": round(share, 6)} for name, share in top],
            }
            for path, top in results
        ],
        "skipped": [{"file": path, "reason": reason} for path, reason in skipped],
    }
