"""Reports of evaluations: their files, their tables in the terminal, their figure. Nothing heavy is imported here."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tf_study import cli
from tf_study.errors import StudyError

REPORT, ANSWERS, PLANE = "report.json", "answers.jsonl", "plane.png"
REFERENCE = "reference"  # the judge that is a program
SEPARABLE = 0.1  # If fewer decided questions go to the shorter answer, length and content say the same.
PARTS = (
    "model",
    "base",
    "date",
    "digest",
    "settings",
    "data",
    "suite",
    "preferences",
    "wins",
    "safety",
    "perplexity",
)


def table(report: dict) -> str:
    """Return the report as the tables of the terminal."""
    parts = [cli.table(measured_rows(report))]
    if report["wins"]:
        parts.append(won(report["wins"]))
    parts.append(cli.table(attack_rows(report)))
    return "\n\n".join(parts)


def measured_rows(report: dict) -> list[tuple[str, ...]]:
    """Return the table of everything that is one number, its head first."""
    sides, held = list(report["safety"]), report["preferences"]
    if len(sides) > 1:
        rows = [
            ("잰 것", f"학습 전 ({short(report['base'])})", f"학습 후 ({short(report['model'])})", "질문")
        ]
    else:
        rows = [("잰 것", short(report["model"]), "질문")]

    def line(title: str, values: dict[str, dict | float | None]) -> None:
        last = values["model"]
        count = str(last["groups"]) if isinstance(last, dict) else ""
        rows.append((title, *(shown(values[side]) for side in sides), count))

    def of_safety(title: str, *keys: str) -> None:
        found = report["safety"]
        for key in keys:
            found = {side: found[side][key] for side in sides}
        line(title, found)

    if held:
        for key, title in (
            ("sum", "로그 확률의 합"),
            ("mean", "토큰마다의 평균"),
            ("implicit", "학습으로 더 오른 쪽"),
        ):
            line(f"선호 정확도, {title}", {side: held[side].get(key) for side in sides})
    of_safety("공격 성공률, 모두", "success")
    of_safety("과잉 거절, 안전한 질문 모두", "over_refusal")
    of_safety("과잉 거절, 겉말만 위험한 질문", "lookalike")
    of_safety("꾸미지 않은 안전한 질문에 응답", "helpful")
    for key, title in (("offers", "다른 길을 말함"), ("harmless", "방법이 없음"), ("short", "200자 이내")):
        of_safety(f"거절의 질, {title}", "quality", key)
    for tries in report["safety"]["model"]["tries"]:
        of_safety(f"온도 1로 {tries}번 물을 때 한 번은 성공", "tries", tries)
    line("안전과 상관없는 글의 퍼플렉시티", report["perplexity"])
    return rows


def won(fought: dict) -> str:
    """Return what came of answers against answers as sentences."""
    judge = "고른 답과 더 닮은 쪽(chrF)" if fought["judge"] == REFERENCE else fought["judge"]
    text = (
        f"승률 {shown(fought['rate'])}, 길이를 뺀 승률 {shown(fought['controlled'])}. 심판은 {judge}, 순서를 바꾸어도 "
        f"같은 판정 {fought['consistent']['share']:.0%}, 앞의 답을 고른 비율 {fought['first']:.2f}, "
        f"답의 길이 {fought['length']:.2f}배."
    )
    if longer := fought["longer_wins"]:
        text += f" 승부가 난 질문의 {longer['share']:.0%}에서 더 긴 답이 이겼습니다."
        if not SEPARABLE <= longer["share"] <= 1 - SEPARABLE:
            text += " 그래서 길이와 내용의 몫을 나눌 수 없습니다."
    return text


def attack_rows(report: dict) -> list[tuple[str, ...]]:
    """Return the table of attacks, its head first: success, and refusal of safe questions dressed alike."""
    sides = list(report["safety"])
    when = " 전 → 후" if len(sides) > 1 else ""
    rows = [("공격", f"성공{when}", f"안전한 질문 거절{when}", "위험한 질문", "안전한 질문")]
    for attack in report["safety"]["model"]["attacks"]:
        cells = [
            [report["safety"][side]["attacks"][attack][key] for side in sides]
            for key in ("success", "over_refusal")
        ]
        changes = [" → ".join(f"{one['share']:.2f}" if one else "-" for one in cell) for cell in cells]
        rows.append((attack, *changes, *(str(cell[-1]["count"] if cell[-1] else 0) for cell in cells)))
    return rows


def short(name: str) -> str:
    """Return the last part of a folder's or a hub's name."""
    return Path(name).name or name


def shown(value: dict | float | None) -> str:
    """Return a share with its interval, or a number, as text."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        return f"{value['share']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
    return f"{value:.2f}"


def plane(report: dict, path: Path) -> None:
    """Draw all attacks together in the plane of success and over-refusal, and beside it the success of each."""
    import matplotlib.pyplot as plt

    from tf_study import plots

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2), width_ratios=(1, 1.15))
    two, attacks = len(report["safety"]) > 1, list(report["safety"]["model"]["attacks"])
    for side, found in report["safety"].items():
        colour = plots.COLORS[1 if side == "base" else 0]
        label = {"base": "학습 전", "model": "학습 후"}[side] if two else short(report["model"])
        total = [found["success"], found["over_refusal"]]
        spread = [[[one["share"] - one["low"]], [one["high"] - one["share"]]] for one in total]
        left.errorbar(
            *(one["share"] for one in total), xerr=spread[0], yerr=spread[1], fmt="o", ms=8, color=colour,
            capsize=3, label=label,
        )  # fmt: skip
        places = [found["attacks"][attack]["success"]["share"] for attack in attacks]
        right.plot(places, range(len(attacks)), "o", color=colour, ms=8 if side == "base" else 6)
    if two:
        for row, attack in enumerate(attacks):
            ends = [found["attacks"][attack]["success"]["share"] for found in report["safety"].values()]
            right.plot(ends, (row, row), color="0.7", zorder=0)
    left.set(
        title="모두 합친 것과 95% 구간", xlabel="공격 성공률", ylabel="과잉 거절", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05)
    )  # fmt: skip
    left.legend(loc="upper center")
    right.set(
        title="공격마다",
        xlabel="공격 성공률",
        xlim=(-0.05, 1.05),
        yticks=range(len(attacks)),
        yticklabels=attacks,
    )
    right.invert_yaxis()
    cli.write(path, lambda part: figure.savefig(part, format="png"))
    plt.close(figure)


def save(report: dict, rows: Sequence[dict], folder: Path) -> list[Path]:
    """Write the report, the answers and the figure.

    Raises:
        StudyError: if a file cannot be written.
    """
    paths = [folder / name for name in (REPORT, ANSWERS, PLANE)]
    text = json.dumps(report, ensure_ascii=False, indent=1)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    cli.write_text(paths[0], text)
    cli.write_text(paths[1], lines)
    plane(report, paths[2])
    return paths


def read(folder: Path) -> dict:
    """Return a folder's report.

    Raises:
        StudyError: if there is none, or it is damaged.
    """
    path = folder / REPORT
    if not path.is_file():
        raise StudyError(f"{folder}에 보고서({REPORT})가 없으니 evaluate를 먼저 실행하세요.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        whole = set(PARTS) <= set(report)
    except (OSError, ValueError, TypeError):
        whole = False
    if not whole:
        raise StudyError(f"{path}의 내용이 깨졌으니 evaluate를 다시 실행하세요.")
    return report


def digest(folder: Path) -> str | None:
    """Return a digest of the weights in a folder; ``None`` if it holds none."""
    found = hashlib.sha256()
    paths = sorted(folder.glob("*.safetensors"))
    for path in paths:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest() if paths else None
