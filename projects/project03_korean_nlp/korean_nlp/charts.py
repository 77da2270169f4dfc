"""Inline SVG charts of a page that must not load anything: lines and bars, readable on light and dark ground."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 128, 12, 42
# Okabe and Ito (2008), each distinguishable from the others on both grounds; a dash pattern tells them apart, too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "10 4", "4 2", "1 3")
GAP = 15  # between the names at the ends of lines


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    xlabel: str,
    ylabel: str,
    xticks: Sequence[tuple[float, str]],
    yticks: Sequence[tuple[float, str]],
) -> str:
    """Return lines through points, each named at its right end.

    Args:
        series: name → points in rising order of x.
        xticks, yticks: values with what is written there; the first and the last are the ends of the axis.
    """
    (x0, x1), (y0, y1) = ((ticks[0][0], ticks[-1][0]) for ticks in (xticks, yticks))

    def x(value: float) -> float:
        return LEFT + (value - x0) / ((x1 - x0) or 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y0) / ((y1 - y0) or 1) * (HEIGHT - TOP - BOTTOM)

    parts = [_open(f"{ylabel}: {', '.join(series)}", HEIGHT)]
    for value, text in yticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(_text(LEFT - 6, y(value) + 4, text, "end"))
    for value, text in xticks:
        parts.append(_text(x(value), HEIGHT - BOTTOM + 16, text, "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 6, xlabel, "middle"))
    parts.append(
        f'<text transform="rotate(-90)" x="{-(TOP + HEIGHT - BOTTOM) / 2:.1f}" y="12" text-anchor="middle">'
        f"{escape(ylabel)}</text>"
    )
    ends = _apart([(name, y(points[-1][1])) for name, points in series.items()])
    for number, (name, points) in enumerate(series.items()):
        color, dash = COLORS[number % len(COLORS)], DASHES[number % len(DASHES)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" stroke="{color}" stroke-dasharray="{dash}" class="line"/>')
        parts.append(
            f'<circle cx="{x(points[-1][0]):.1f}" cy="{y(points[-1][1]):.1f}" r="3" fill="{color}"/>'
        )
        parts.append(_text(WIDTH - RIGHT + 10, ends[name] + 4, name, "start", color))
    return "".join(parts) + "</svg>"


def bars(rows: Sequence[tuple[str, float, str]], most: float, width: int = WIDTH) -> str:
    """Return horizontal bars of (name, length, what is written beside it); ``most`` is the length of a full one."""
    height = 22 * len(rows) + 6
    start, full = width // 4, width // 2
    parts = [_open(", ".join(name for name, _, _ in rows), height, width)]
    for number, (name, value, text) in enumerate(rows):
        top = 22 * number + 4
        length = max(value, 0) / most * full if most else 0
        parts.append(_text(start - 8, top + 13, name, "end"))
        parts.append(
            f'<rect x="{start}" y="{top}" width="{length:.1f}" height="16" rx="2" fill="{COLORS[0]}"/>'
        )
        parts.append(_text(start + 6 + length, top + 13, text, "start"))
    return "".join(parts) + "</svg>"


def _apart(ends: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return heights for names at about their own that do not cover one another."""
    placed, last = {}, -GAP
    for name, height in sorted(ends, key=lambda end: end[1]):
        last = max(height, last + GAP)
        placed[name] = last
    surplus = max(0.0, last - (HEIGHT - BOTTOM + 4))
    return {name: height - surplus for name, height in placed.items()} if surplus else placed


def _open(label: str, height: int, width: int = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">'


def _text(x: float, y: float, text: str, anchor: str, color: str = "") -> str:
    fill = f' style="fill:{color}"' if color else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{fill}>{escape(text)}</text>'
