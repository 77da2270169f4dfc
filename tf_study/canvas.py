"""The page below ``tf_study.diagram``: texts, boxes and lines in points that are checked before they are drawn."""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import is_color_like, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from tf_study.errors import StudyError
from tf_study.plots import COLORS

ROLES = {
    "data": ("데이터", COLORS[0]),
    "param": ("파라미터", COLORS[4]),
    "op": ("연산", COLORS[2]),
    "loss": ("손실", COLORS[3]),
    "mark": ("", COLORS[1]),
    "plain": ("", "#777777"),
}
BOX, LABEL, TITLE = 10, 9, 11  # font sizes
INK, LINE = "#222222", "#444444"
WIDEST = 9.5 * 72  # points; a wider figure is scaled down on the page, and its text with it
SLACK = 0.6  # points by which neighbours may touch
Bounds = tuple[float, float, float, float]  # left, top, right, bottom in points, y downwards


@cache
def text_size(text: str, size: float, spacing: float = 1.2) -> np.ndarray:
    """Return the width and height in points of the rendered text.

    Small type is fitted to the pixels, so that its width depends on the resolution: the larger one counts.
    """
    sizes = []
    for dpi in (plt.rcParams["figure.dpi"], 144):
        figure = Figure(dpi=dpi)
        drawn = figure.text(0, 0, text, fontsize=size, linespacing=spacing)
        extent = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        sizes.append(np.array(extent.size) * 72 / dpi)
    return np.max(sizes, axis=0)


def color_of(role: str) -> str:
    if role not in ROLES and not is_color_like(role):
        raise StudyError(f"{role!r} 역할이 없으니 {', '.join(ROLES)} 가운데 하나나 색을 적으세요.")
    return ROLES[role][1] if role in ROLES else role


def _mix(color: str, other: str, share: float) -> np.ndarray:
    return (1 - share) * np.array(to_rgb(color)) + share * np.array(to_rgb(other))


def crosses(track: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Which areas, shape (n, 4), does a line through points cross?"""
    points = [np.linspace(p, q, 2 + int(np.abs(q - p).max() / 2)) for p, q in pairwise(track)]
    points = np.concatenate(points)[:, None]
    inside = (points > areas[:, :2] + SLACK) & (points < areas[:, 2:] - SLACK)
    return inside.all(axis=2).any(axis=0)


class Canvas:
    """Texts, boxes and lines in points, y downwards; ``finish`` checks that nothing overlaps and draws."""

    def __init__(self):
        self.texts, self.boxes, self.lines, self.artists = [], [], [], []
        self.roles: dict[str, None] = {}

    def text(
        self, text, x, y, ha="center", va="center", size=LABEL, home=None, on=None, spacing=1.2, **style
    ) -> Bounds:
        """Write text; ``home`` is the box that holds it, ``on`` the line that it may lie on."""
        width, height = text_size(text, size, spacing)[:: -1 if style.get("rotation") else 1]
        left = x - width * {"left": 0, "center": 0.5, "right": 1}[ha]
        top = y - height * {"top": 0, "center": 0.5, "bottom": 1}[va]
        self.texts.append((text, (left, top, left + width, top + height), home, on))
        style = {"color": INK, "size": size, "linespacing": spacing, "ma": ha, "zorder": 5} | style
        style |= {"ha": "center", "va": "center"}
        if on is not None:
            style["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        self.artists.append(lambda ax: ax.text(left + width / 2, top + height / 2, text, **style))
        return self.texts[-1][1]

    def box(
        self, bounds: Bounds, role="plain", text="", size=BOX, rounding=2.5, frame=False, **style
    ) -> None:
        """Draw a box with its text; a ``frame`` holds other things and may be crossed."""
        left, top, right, bottom = bounds
        color, plain = color_of(role), role == "plain"
        if frame:
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            self.lines.append(("테두리", np.array(corners, float), ()))
            style = {"linestyle": (0, (4, 3)), "zorder": 0} | style
        else:
            self.boxes.append((text, bounds))
            self.roles[role] = None
        style = {
            "facecolor": "#F6F6F6" if plain else _mix(color, "white", 0.75),
            "edgecolor": "#999999" if plain else _mix(color, "black", 0.15),
            "linewidth": 2.2 if role == "mark" else 1.0,
            "zorder": 2.5 if role == "mark" else 2,
        } | style
        if 2 * rounding >= right - left == bottom - top:
            patch = Ellipse(((left + right) / 2, (top + bottom) / 2), right - left, bottom - top, **style)
        else:
            shape = f"round,pad=0,rounding_size={rounding}"
            patch = FancyBboxPatch((left, top), right - left, bottom - top, boxstyle=shape, **style)
        self.artists.append(lambda ax: ax.add_patch(patch))
        if text:
            self.text(text, (left + right) / 2, (top + bottom) / 2, size=size, home=bounds)

    def line(self, points, name="", ends=(), arrow=True, dashed=False, curve=False, color=LINE) -> np.ndarray:
        """Draw a line through points (``curve``: the middle one of three is the control point).

        It may touch the boxes ``ends`` only; with ``ends=None`` it lies in the background and is not checked.
        """
        points = np.array(points, float)
        points = track = points[[True, *(np.abs(np.diff(points, axis=0)) > 1e-6).any(axis=1)]]
        if curve:
            t = np.linspace(0, 1, 41)[:, None]
            track = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
        self.lines.append((name, track, ends))
        path = Path(points, [Path.MOVETO, Path.CURVE3, Path.CURVE3] if curve else None)
        style = {"linestyle": (0, (4, 2)) if dashed else "-", "color": color}
        style |= {"linewidth": 1.2, "zorder": 3} if arrow else {"linewidth": 0.8, "zorder": 1}
        patch = FancyArrowPatch(path=path, arrowstyle="-|>" if arrow else "-", mutation_scale=9, **style)
        self.artists.append(lambda ax: ax.add_patch(patch))
        return track

    def check(self) -> None:
        """Raise a StudyError for the first overlap."""

        def clash(*names):
            raise StudyError(
                f"그림에서 두 가지({', '.join(names)})가 겹치니 자리(at)나 방향(sides)을 바꾸거나 글을 줄이세요."
            )

        things = [(text, bounds, None, None) for text, bounds in self.boxes] + self.texts
        names = [repr(text) if text else "빈 칸" for text, *_ in things]
        areas = np.array([bounds for _, bounds, *_ in things])
        for k, (_, area, home, _) in enumerate(things):
            if home and (np.subtract(area, home) * (-1, -1, 1, 1) > 0).any():
                raise StudyError(f"그림에서 {names[k]} 글이 상자를 벗어나니 글을 줄이거나 줄을 나누세요.")
            shared = np.minimum(area[2:], areas[:k, 2:]) - np.maximum(area[:2], areas[:k, :2])
            for other in np.flatnonzero((shared > SLACK).all(axis=1)):
                if things[other][1] != home:
                    clash(names[k], names[other])
        for name, track, ends in self.lines:
            if ends is not None:
                for k in np.flatnonzero(crosses(track, areas)):
                    _, area, home, on = things[k]
                    if area not in ends and home not in ends and on is not track:
                        clash(name, names[k])

    def bounds(self) -> Bounds:
        """The bounds of everything drawn so far."""
        areas = [bounds for _, bounds, *_ in self.texts + self.boxes]
        areas += [(*track.min(axis=0), *track.max(axis=0)) for _, track, _ in self.lines]
        low, high = np.min(areas, axis=0), np.max(areas, axis=0)
        return (*low[:2], *high[2:])

    def legend(self, entries: Mapping[str, str], x: float, y: float) -> None:
        """Explain roles or colours in one line from (x, y)."""
        for text, role in entries.items():
            self.box((x, y, x + 10, y + 10), role)
            x = self.text(text, x + 14, y + 5, ha="left")[2] + 14

    def finish(self, title: str) -> Axes:
        """Check everything and draw it on a new figure of the size that it needs."""
        left, top, right, _ = self.bounds()
        if title:
            self.text(title, (left + right) / 2, top - 12, va="bottom", size=TITLE)
        self.check()
        left, top, right, bottom = np.add(self.bounds(), (-8, -6, 8, 8))
        if right - left > WIDEST:
            raise StudyError(
                f"그림의 폭이 {(right - left) / 72:.1f}인치로 {WIDEST / 72}인치를 넘으니 아래 줄로 나누거나 글을 줄이세요."
            )
        figure = plt.figure(figsize=((right - left) / 72, (bottom - top) / 72), layout="none")
        ax = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
        ax.axis("off")
        for draw in self.artists:
            draw(ax)
        return ax
