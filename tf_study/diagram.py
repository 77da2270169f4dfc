r"""Schematics in one style: data flow, a cell beside its equation, tensor grids, time lines, memory maps.

Boxes stand in rows and columns; each new box goes to the right of the last one (below it with ``down=True``)
unless ``at`` names a place. An arrow goes through any number of boxes, with labels between them::

    d = Diagram("문장 분류기")
    ids, emb = d.box("토큰 번호", "data"), d.box("임베딩\nEmbedding", "param")
    pool, out = d.box("평균 풀링", "op"), d.box("완전 연결 층\nDense", "param")
    d.arrow(ids, "(B, T)", emb, "(B, T, d)", pool, "(B, d)", out)
    loss = d.box("교차 엔트로피", "loss", at=out.below)     # or at=(row, column), also halves: at=(0.5, 2)
    d.arrow(out, "(B, 2)", loss)
    d.arrow(loss, "기울기", out, dashed=True)               # stands beside the forward arrow
    d.arrow(emb, "잔차", out, sides="top-top")              # goes around what lies between
    d.frame("학습되는 부분", emb, pool, out)
    d.text(r"$p = \mathrm{softmax}(W\bar{e} + b)$", at=emb.below, span=(1, 2))
    d.draw()
    plt.show()

A box of one character ("+", "×", "σ") is a circle. A branch or a merge is several arrows from or to one box;
they turn at right angles. ``sides="right-top"`` (from-to) chooses where an arrow leaves and enters; ``curve=0.2``
bends it, and ``curve=0`` draws it straight. Colours are roles: data, param, op, loss, mark (what the figure is
about), plain; or any matplotlib colour, where one entity keeps one colour through a notebook. ``Diagram.grid``
draws a matrix as cells (a node like any other), ``timeline`` lanes with blocks, ``memory`` bars with segments.

Sizes come from the rendered text. What would overlap, cross a box or be too wide raises a ``StudyError`` that
names it, so that no schematic with text outside its box is ever drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tf_study.canvas import BOX, LABEL, LINE, ROLES, WIDEST, Bounds, Canvas, color_of, crosses, text_size
from tf_study.errors import StudyError
from tf_study.plots import COLORS

SIDES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}  # axis (0: x) and direction
# Points from the edge of a gap to where an elbow turns in it: after it left a node, before it enters one.
LOW, HIGH = 12, 15


class Node:
    """A box, a text or a grid; ``right``, ``below``, ``left`` and ``above`` are the places next to it."""

    def __init__(self, text: str, at, span, size, paint: Callable, stretch: bool = False):
        self.text, self.paint, self.stretch = text, paint, stretch
        self.first, self.count = np.array(at[::-1], float), np.array(span[::-1])
        self.natural = self.size = np.array(size, float)
        self.center = np.zeros(2)
        self.blank: dict[str, float] = {}  # side → points of it that are empty; arrows go on to what is drawn

    last = property(lambda self: self.first + self.count - 1)
    right = property(lambda self: (self.first[1], self.first[0] + self.count[0]))
    left = property(lambda self: (self.first[1], self.first[0] - 1))
    below = property(lambda self: (self.first[1] + self.count[1], self.first[0]))
    above = property(lambda self: (self.first[1] - 1, self.first[0]))

    @property
    def bounds(self) -> Bounds:
        return (*(self.center - self.size / 2), *(self.center + self.size / 2))

    def faces(self, other: "Node", axis: int) -> bool:
        """Does one of the two lie within the other's tracks, so that a straight line joins them?"""
        one, two = (self, other) if self.count[axis] >= other.count[axis] else (other, self)
        return bool(one.first[axis] <= two.first[axis] and two.last[axis] <= one.last[axis])


class Arrow:
    """One arrow from node ``a`` to node ``b``."""

    def __init__(self, a: Node, b: Node, text: str, sides: Sequence[str], curve: float | None, style: dict):
        self.a, self.b, self.text, self.sides, self.curve, self.style = a, b, text, sides, curve, style
        self.axis, self.end_axis = (SIDES[side][0] for side in sides)
        self.around = curve is None and sides[0] == sides[1]
        self.corner = curve is None and self.axis != self.end_axis
        facing = curve is None and not self.around and not self.corner
        self.straight = facing and a.faces(b, 1 - self.axis)
        self.elbow = facing and not self.straight
        self.size = text_size(text, LABEL) if text else np.zeros(2)
        self.nodes: list[Node] = []  # what one that goes around goes around, and at what distance
        self.margin = 0.0


class Diagram:
    """Boxes, texts and grids in rows and columns, with arrows between them and frames around them.

    Args:
        title: Korean title above the schematic.
        down: let the flow go down instead of right.
        gap: least distance in points between columns and between rows; labels widen it where needed.
    """

    def __init__(self, title: str = "", *, down: bool = False, gap: tuple[float, float] = (30, 26)):
        self.title, self.down, self.gap = title, down, gap
        self.nodes: list[Node] = []
        self.arrows: list[Arrow] = []
        self.frames: list[tuple[str, tuple[Node, ...]]] = []

    def _add(self, text, at, *rest) -> Node:
        if at is None:
            at = (0, 0) if not self.nodes else self.nodes[-1].below if self.down else self.nodes[-1].right
        self.nodes.append(Node(text, at, *rest))
        return self.nodes[-1]

    def box(self, text: str, role: str = "plain", at=None, span=(1, 1)) -> Node:
        """Add a box; ``at`` is (row, column), ``span`` how many rows and columns it covers."""
        size = text_size(text, BOX) + (16, 14)
        rounding = 8 if role == "data" else 2.5
        if len(text) == 1:
            size = np.full(2, max(text_size(text, BOX)) + 5)
            rounding = size[0] / 2
        paint = lambda canvas, node: canvas.box(node.bounds, role, text, rounding=rounding)  # noqa: E731
        return self._add(text, at, span, size, paint, len(text) > 1)

    def text(self, text: str, at=None, span=(1, 1), size: float = BOX) -> Node:
        """Add text without a box, such as formulas in mathtext, one a line."""
        extent = text_size(text, size, 1.7)

        def paint(canvas, node):
            canvas.text(text, node.center[0] - extent[0] / 2, node.center[1], "left", size=size, spacing=1.7)

        return self._add(text, at, span, extent + 4, paint)

    def grid(
        self,
        values: Sequence[Sequence],
        at=None,
        *,
        color: Callable[[int, int], str | None] = lambda row, column: None,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        names: tuple[str, str] = ("", ""),
        caption: str = "",
        fmt: str = "",
        cell: float = 20,
        span=(1, 1),
    ) -> Node:
        """Add a matrix drawn as cells.

        Args:
            values: two-dimensional; ``None`` or ``""`` leaves a cell empty, numbers are written with ``fmt``.
            color: role or colour of the cell at (row, column), or ``None``.
            rows, columns: labels of the rows and columns.
            names: names of the two axes, rows first.
            caption: text below the cells, such as a shape.
            cell: least side of a cell in points.

        Example: ``d.grid(mask, color=lambda r, c: "mark" if mask[r][c] else None, names=("쿼리", "키"))``
        """
        values = [
            ["" if v is None else v if isinstance(v, str) else format(v, fmt) for v in r] for r in values
        ]
        inner = [text_size(v, LABEL) + (6, 5) for r in [*values, columns] for v in r if v]
        side = np.max([np.full(2, cell), *inner], axis=0)
        extent = side * (max(map(len, values)), len(values))
        line = text_size("가", LABEL)[1] + 3
        labels = max((text_size(name, LABEL)[0] + 4 for name in rows), default=0)
        origin = np.array([labels + (line + 5 if names[0] else 0), line * (any(columns) + bool(names[1]))])
        low = text_size(caption, LABEL) + 5 if caption else np.zeros(2)
        above, below = origin[1], low[1]  # the cells stand in the middle, so that grids in a row are level
        size = (origin[0] + max(extent[0], (extent[0] + low[0]) / 2), extent[1] + 2 * max(above, below))

        def paint(canvas, node):
            start = np.array(node.bounds[:2]) + (origin[0], max(above, below))
            middle, end = start + extent / 2, start + extent
            for r, row in enumerate(values):
                for c, value in enumerate(row):
                    place = (*(start + side * (c, r)), *(start + side * (c + 1, r + 1)))
                    role = color(r, c) or "plain"
                    edge = {} if role == "mark" else {"edgecolor": "#888888", "linewidth": 0.8}
                    canvas.box(place, role, value, LABEL, 0, **edge)
            for r, name in enumerate(rows):
                canvas.text(name, start[0] - 4, start[1] + (r + 0.5) * side[1], "right")
            for c, name in enumerate(columns):
                canvas.text(name, start[0] + (c + 0.5) * side[0], start[1] - 2, va="bottom")
            if names[0]:
                canvas.text(names[0], start[0] - labels - 3, middle[1], "right", rotation=90)
            if names[1]:
                canvas.text(names[1], middle[0], start[1] - above, va="top")
            if caption:
                canvas.text(caption, middle[0], end[1] + 4, va="top")

        node = self._add(caption or "격자", at, span, size, paint)
        node.blank = {"top": max(0, below - above), "bottom": max(0, above - below)}
        return node

    def arrow(
        self, *path: Node | str, sides="", dashed=False, color: str = LINE, curve: float | None = None
    ) -> None:
        """Draw arrows through nodes; a string between two nodes is the label of the arrow between them."""
        start, text = None, ""
        for item in path:
            if isinstance(item, str):
                text = item
                continue
            if start is not None:
                ends = sides.split("-") if sides else self._sides(start, item)
                if len(ends) != 2 or not set(ends) <= set(SIDES):
                    raise StudyError(f"화살표의 sides={sides!r}는 'right-left'나 'top-top'처럼 적으세요.")
                self.arrows.append(Arrow(start, item, text, ends, curve, {"dashed": dashed, "color": color}))
            start, text = item, ""

    def _sides(self, a: Node, b: Node) -> tuple[str, str]:
        if a is b:
            return "top", "top"
        if a.faces(b, 0) or (self.down and not a.faces(b, 1)):
            return ("bottom", "top") if a.first[1] <= b.first[1] else ("top", "bottom")
        return ("right", "left") if a.first[0] <= b.first[0] else ("left", "right")

    def frame(self, caption: str, *nodes: Node) -> None:
        """Draw a dashed frame with a caption around nodes."""
        self.frames.append((caption, nodes))

    def draw(self, legend: bool = True) -> Axes:
        """Lay everything out, draw it and return the axes; ``legend`` explains the roles if there are several."""
        if not self.nodes:
            raise StudyError("그림에 상자가 없으니 box, text, grid 가운데 하나를 먼저 더하세요.")
        canvas, frames = Canvas(), self._lay_out()
        for node in self.nodes:
            node.paint(canvas, node)
        for arrow in self.arrows:
            self._draw_arrow(canvas, arrow)
        for caption, (left, top, right, bottom) in reversed(frames):  # outer ones first
            if caption:  # on the left, or where the first gap between arrows is
                width, height = text_size(caption, LABEL)
                starts = np.arange(left + 6, max(right - width - 5, left + 7), 3)
                areas = np.stack(
                    [starts - 3, 0 * starts + top, starts + width + 3, 0 * starts + top + height], 1
                )
                crossed = np.any([crosses(track, areas) for _, track, _ in canvas.lines], axis=0)
                canvas.text(caption, starts[np.argmin(crossed)], top + 3, "left", "top", color="#555555")
            canvas.box((left, top, right, bottom), rounding=4, frame=True)
        named = {ROLES[role][0]: role for role in canvas.roles if role in ROLES and ROLES[role][0]}
        if legend and len(named) > 1:
            left, _, right, bottom = canvas.bounds()
            width = sum(text_size(name, LABEL)[0] + 28 for name in named) - 14
            canvas.legend(named, (left + right - width) / 2, bottom + 16)
        return canvas.finish(self.title)

    # Layout. Axis 0 is x and has the columns as tracks, axis 1 is y; gap k lies between tracks k and k + 1.

    def _extent(self, nodes: Sequence[Node], axis: int) -> tuple[int, int]:
        return floor(min(n.first[axis] for n in nodes)), ceil(max(n.last[axis] for n in nodes))

    def _gap(self, node: Node, side: str) -> int | None:
        """The gap that an arrow leaving or entering a node at a side is in; none beside half places."""
        axis, sign = SIDES[side]
        k = node.last[axis] if sign > 0 else node.first[axis] - 1
        return int(k) if k == int(k) and 0 <= k < self._extent(self.nodes, axis)[1] else None

    def _turn(self, arrow: Arrow) -> tuple[Node, str]:
        """Where an elbow turns: near the target if only there other arrows join it, else near the source."""
        outs = sum(o.a is arrow.a and o.sides[0] == arrow.sides[0] for o in self.arrows)
        ins = sum(o.b is arrow.b and o.sides[1] == arrow.sides[1] for o in self.arrows)
        return (arrow.b, arrow.sides[1]) if outs == 1 and ins > 1 else (arrow.a, arrow.sides[0])

    def _label_gap(self, arrow: Arrow) -> int | None:
        near_target = arrow.axis == 1 if arrow.corner else arrow.elbow and self._turn(arrow)[0] is arrow.a
        return self._gap(arrow.b, arrow.sides[1]) if near_target else self._gap(arrow.a, arrow.sides[0])

    def _label_node(self, arrow: Arrow) -> Node:
        """The node in whose row or column the label of a straight arrow or an elbow lies."""
        if arrow.straight:
            return min(arrow.a, arrow.b, key=lambda node: node.count[1 - arrow.axis])
        return arrow.b if self._turn(arrow)[0] is arrow.a else arrow.a

    def _twin(self, arrow: Arrow) -> Arrow | None:
        return next((o for o in self.arrows if o.straight and (o.a, o.b) == (arrow.b, arrow.a)), None)

    def _before(self, arrow: Arrow) -> bool:
        """Does the label stand above or left of the line? Of two opposite arrows one has it on each side."""
        twin = arrow.straight and self._twin(arrow)
        return self.arrows.index(arrow) < self.arrows.index(twin) if twin else arrow.axis == 0

    def _between(self, arrow: Arrow) -> list[Node]:
        """Both ends of an arrow and the nodes on the way from one to the other along other arrows."""
        links = [(o.a, o.b) for o in self.arrows if not o.around]

        def reach(start, stop, pairs):
            seen = [start]
            for node in seen:
                seen += [b for a, b in pairs if a is node is not stop and b not in seen]
            return seen

        on_way = []
        for a, b in ((arrow.a, arrow.b), (arrow.b, arrow.a)):
            before_b = reach(b, a, [pair[::-1] for pair in links])
            on_way += [node for node in reach(a, b, links) if node in before_b]
        return [arrow.a, arrow.b, *on_way]

    def _reserve(self) -> list[tuple]:
        """Keep room beside the tracks for frames and for arrows that go around, inner ones first."""
        margins = self.margins = []

        def reserve(side, nodes, amount):
            axis, sign = SIDES[side]
            track, (first, last) = self._extent(nodes, axis)[sign > 0], self._extent(nodes, 1 - axis)
            inner = [m for s, t, f, e, m in margins if (s, t) == (side, track) and f <= last and first <= e]
            margins.append((side, track, first, last, max(inner, default=0) + amount))
            return margins[-1][-1]

        for arrow in self.arrows:  # a label beside a vertical line, as far as it is wider than its column
            node, k = self._label_node(arrow), self._label_gap(arrow)
            if arrow.text and arrow.axis == 1 and (arrow.straight or arrow.elbow) and k is not None:
                amount = arrow.size[0] + 6 - self._natural(node, 0) / 2
                if amount > 0 and node.count[0] == 1:
                    side = "left" if self._before(arrow) else "right"
                    margins.append((side, ceil(node.first[0]), k + 0.5, k + 0.5, amount))
        around: dict[tuple, list[Arrow]] = {}  # those that leave a node at one side share their line
        for arrow in self.arrows:
            if arrow.around:
                around.setdefault((id(arrow.a), arrow.sides[0]), []).append(arrow)
        jobs = [
            (bus, [n for arrow in bus for n in self._between(arrow)]) for bus in around.values()
        ] + self.frames
        jobs.sort(key=lambda job: np.prod([np.ptp(self._extent(job[1], axis)) + 1 for axis in (0, 1)]))
        rings = []
        for job, nodes in jobs:
            if isinstance(job, list):
                label = max(arrow.size[arrow.axis] + 4 if arrow.text else 0 for arrow in job)
                margin = reserve(job[0].sides[0], nodes, 13 + label) - label
                for arrow in job:
                    arrow.nodes, arrow.margin = nodes, margin
            else:
                top = 9 + (text_size(job, LABEL)[1] if job else 0)
                rings.append(
                    (job, nodes, [reserve(side, nodes, top if side == "top" else 9) for side in SIDES])
                )
        return rings

    def _lay_out(self) -> list[tuple[str, Bounds]]:
        """Give every node its place and size, and return the frames with theirs."""
        origin = np.floor(np.min([node.first for node in self.nodes], axis=0))
        for node in self.nodes:
            node.first = node.first - origin
        rings = self._reserve()
        self.turns = set()
        for arrow in self.arrows:
            if arrow.elbow:
                node, side = self._turn(arrow)
                self.turns.add((arrow.axis, self._gap(node, side), SIDES[side][1]))
        self.tracks, self.space = [[], []], [[], []]
        for axis in (0, 1):
            spans = [(n.first[axis], n.last[axis], n.natural[axis]) for n in self.nodes]
            if axis == 0:  # a frame is as wide as its caption, and leaves the middle to arrows from above
                ends = [end for o in self.arrows for end in zip((o.a, o.b), o.sides, strict=True)]
                tops = {node for node, side in ends if side == "top"}
                for caption, nodes, _ in rings:
                    width = text_size(caption, LABEL)[0]
                    wide = 2 * width + 16 if tops & set(nodes) else width
                    spans.append((*self._extent(nodes, 0), wide))
            self._solve(axis, spans)
        for node in self.nodes:
            for axis in (0, 1):
                self._place(node, axis)
        frames = []
        for caption, nodes, rooms in rings:
            edges = []
            for (axis, sign), room in zip(SIDES.values(), rooms, strict=True):
                edges.append(self.tracks[axis][self._extent(nodes, axis)[sign > 0]][sign > 0] + sign * room)
            frames.append((caption, (edges[0], edges[2], edges[1], edges[3])))
        return frames

    def _solve(self, axis: int, spans: list[tuple]) -> None:
        """Find the ends of the tracks of an axis, and the free space of its gaps, from the sizes of nodes."""
        count = self._extent(self.nodes, axis)[1] + 1
        room = np.zeros((2, count))  # for frames and arrows, before and after each track
        for side, track, *_, margin in self.margins:
            if SIDES[side][0] == axis:
                after = int(SIDES[side][1] > 0)
                room[after, track] = max(room[after, track], margin)
        size = [max((s for f, e, s in spans if f == e == k), default=0) for k in range(count)]
        need = np.full(max(count - 1, 0), float(self.gap[axis]))
        for arrow in self.arrows:
            k = self._label_gap(arrow)
            if (
                arrow.text
                and not arrow.around
                and k is not None
                and axis == (0 if arrow.corner else arrow.axis)
            ):
                label = arrow.size[axis] + (34 if arrow.curve is not None else (16, 12)[axis])
                turns = LOW * ((axis, k, 1) in self.turns) + HIGH * ((axis, k, -1) in self.turns)
                need[k] = max(need[k], label + turns)
        gap = need + room[1, :-1] + room[0, 1:]
        for first, last, wanted in spans:
            if first < last and first == int(first):
                tracks = range(int(first), int(last) + 1)
                missing = wanted - sum(size[k] for k in tracks) - sum(gap[k] for k in tracks[:-1])
                for k in tracks:
                    size[k] += max(0, missing) / len(tracks)
        low = np.cumsum([0, *(s + g for s, g in zip(size, gap, strict=False))])
        self.tracks[axis] = [(a, a + s) for a, s in zip(low, size, strict=True)]
        self.space[axis] = [
            (low[k] + size[k] + room[1, k], low[k + 1] - room[0, k + 1]) for k in range(count - 1)
        ]

    def _free(self, arrow: Arrow, axis: int, gap: int) -> tuple[float, float]:
        """Where a label may lie in a gap, between the frames, lines around and turns in its row or column."""
        low, high = -np.inf, np.inf
        if self._gap(arrow.a, arrow.sides[0]) != self._gap(arrow.b, arrow.sides[1]):
            low, high = self.space[axis][gap]
        if (axis, gap, 1) in self.turns:
            low = self.space[axis][gap][0] + LOW
        if (axis, gap, -1) in self.turns:
            high = self.space[axis][gap][1] - HIGH
        first, last = self._extent([self._label_node(arrow)], 1 - axis)
        for side, track, start, stop, margin in self.margins:
            if SIDES[side] == (axis, 1) and track == gap and start <= last and first <= stop:
                low = max(low, self.tracks[axis][gap][1] + margin)
            if SIDES[side] == (axis, -1) and track == gap + 1 and start <= last and first <= stop:
                high = min(high, self.tracks[axis][gap + 1][0] - margin)
        return low, high

    def _natural(self, node: Node, axis: int) -> float:
        """The size of the largest box with the same place on an axis: boxes in a row or column are alike."""
        mates = (n for n in self.nodes if n.stretch and n.first[axis] == node.first[axis])
        return max((n.natural[axis] for n in mates if n.count[axis] == node.count[axis]), default=0)

    def _place(self, node: Node, axis: int) -> None:
        tracks, first, last = self.tracks[axis], node.first[axis], node.last[axis]
        if first == int(first) and first < last:
            low, high = tracks[int(first)][0], tracks[int(last)][1]
            natural = high - low
        else:  # halfway between the middles of two tracks, or in the middle of one
            low, high = (
                np.interp(p, range(len(tracks)), [sum(track) / 2 for track in tracks]) for p in (first, last)
            )
            natural = self._natural(node, axis)
        node.center[axis] = (low + high) / 2
        if node.stretch:
            node.size = node.size.copy()
            node.size[axis] = natural

    def _draw_arrow(self, canvas: Canvas, arrow: Arrow) -> None:
        a, b, axis = arrow.a, arrow.b, arrow.axis
        (_, sign), other = SIDES[arrow.sides[0]], 1 - arrow.axis
        p, q = a.center.copy(), b.center.copy()
        for point, node, side in ((p, a, arrow.sides[0]), (q, b, arrow.sides[1])):
            along, way = SIDES[side]
            point[along] += way * (node.size[along] / 2 - node.blank.get(side, 0))
        style = {
            "name": f"{a.text!r} → {b.text!r} 화살표",
            "ends": (a.bounds, b.bounds),
            **arrow.style,
        }
        if arrow.curve is not None:
            control = (p + q) / 2 + arrow.curve * (q - p)[::-1] * (1, -1)
            track = canvas.line([p, control, q], curve=True, **style)
            if arrow.text:
                canvas.text(arrow.text, *track[20], on=track)
            return
        before, gap, points = self._before(arrow), self._label_gap(arrow), np.array([p, p, q, q])
        label = slice(None)  # the points that the label stands beside, before (above, left of) them or after
        if arrow.around:
            if a is b:
                points[:2, other] -= a.size[other] / 4
                points[2:, other] += a.size[other] / 4
            points[1:3, axis] = (
                self.tracks[axis][self._extent(arrow.nodes, axis)[sign > 0]][sign > 0] + sign * arrow.margin
            )
            label, axis, before, gap = slice(1, 3), other, sign < 0, None
        elif arrow.corner:
            points[1:3] = (q[0], p[1]) if axis == 0 else (p[0], q[1])
            label, axis, before = slice(0, 2) if axis == 0 else slice(2, 4), 0, True
        elif arrow.straight:
            points[:, other] = self._label_node(arrow).center[other]
            if self._twin(arrow):
                points[:, other] += -5 if before else 5
        else:
            node, side = self._turn(arrow)
            k, enters = self._gap(node, side), SIDES[side][1] < 0
            edge = (q if node is b else p)[axis] if k is None else self.space[axis][k][enters]
            points[1:3, axis] = edge + (-HIGH if enters else LOW)
            label = slice(2, 4) if node is a else slice(0, 2)
        canvas.line(points, **style)
        if not arrow.text:
            return
        low, high = sorted(points[label][[0, -1], axis])
        if gap is not None:
            start, stop = self._free(arrow, axis, gap)
            low, high = max(low, start), min(high, stop)
        spot = points[label][0].copy()
        spot[axis] = (low + high) / 2
        spot[1 - axis] += -3 if before else 3
        beside = (
            ("right" if before else "left", "center") if axis else ("center", "bottom" if before else "top")
        )
        canvas.text(arrow.text, *spot, *beside)


def timeline(
    lanes: Mapping[str, Sequence[tuple[float, float, str, str]]],
    *,
    title: str,
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    legend: Mapping[str, str] | None = None,
) -> Axes:
    """Draw lanes with blocks over a time axis.

    Args:
        lanes: name → blocks ``(start, length, text, role)``; role as in ``Diagram.box``, text may be "".
        xlabel: name and unit of the axis.
        marks: text → time of a vertical dashed line.
        legend: text → role or colour, for what the blocks do not say themselves.

    Example: ``timeline({"GPU 0": [(0, 2, "앞 1", "data"), (2, 3, "뒤 1", "loss")]}, title="…", xlabel="시간 (ms)")``
    """
    canvas, blocks = Canvas(), [block for lane in lanes.values() for block in lane]
    end = max(start + length for start, length, *_ in blocks)
    fitted = [(text_size(text, LABEL)[0] + 5) / length for _, length, text, _ in blocks if text]
    scale = max([380 / end, *fitted])
    if scale * end + max(text_size(name, BOX)[0] for name in lanes) > WIDEST - 30:
        longest = max(blocks, key=lambda block: text_size(block[2], LABEL)[0] / block[1])[2]
        raise StudyError(f"시간표에서 {longest!r} 글이 막대보다 기니 글을 줄이거나 legend로 옮기세요.")
    height = max(text_size(text or "가", LABEL)[1] for *_, text, _ in blocks) + 9
    bottom = len(lanes) * (height + 6)
    style = {"arrow": False, "ends": None}
    for tick in MaxNLocator(8).tick_values(0, end):
        if tick <= end:
            canvas.line([(tick * scale, -2), (tick * scale, bottom)], color="#D0D0D0", **style)
            canvas.text(f"{tick:g}", tick * scale, bottom + 3, va="top")
    canvas.text(xlabel, scale * end / 2, bottom + 18, va="top")
    for index, (name, lane) in enumerate(lanes.items()):
        top = index * (height + 6) + 3
        canvas.text(name, -8, top + height / 2, "right", size=BOX)
        for start, length, text, role in lane:
            canvas.box((start * scale, top, (start + length) * scale, top + height), role, text, LABEL, 1.5)
    for text, time in (marks or {}).items():
        canvas.line([(time * scale, -4), (time * scale, bottom)], dashed=True, color="black", **style)
        canvas.text(text, time * scale, -6, va="bottom")
    canvas.legend(legend or {}, 0, bottom + 38)
    return canvas.finish(title)


def memory(
    bars: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    unit: str,
    colors: Mapping[str, str] | None = None,
    fmt: str = ".3g",
) -> Axes:
    """Draw one bar a row, divided into segments in proportion to their sizes.

    A segment too narrow for its text gets it above the bar. The same name has the same colour in every bar.

    Args:
        bars: name of the bar → name of the segment → size.
        colors: name of the segment → role or colour; the others get colours in turn.

    Example: ``memory({"Adam": {"가중치": 4, "기울기": 4, "모멘트": 8}}, title="파라미터 하나의 메모리", unit="B")``
    """
    canvas, colors = Canvas(), dict(colors or {})
    free = [c for c in COLORS[:6] if c not in map(color_of, colors.values())] or COLORS[:6]
    names = dict.fromkeys(name for bar in bars.values() for name in bar if name not in colors)
    colors |= {name: free[k % len(free)] for k, name in enumerate(names)}
    scale, top = 430 / max(sum(bar.values()) for bar in bars.values()), 0.0
    for bar_name, bar in bars.items():
        texts = {name: f"{name}\n{size:{fmt}} {unit}" for name, size in bar.items()}
        height = max(text_size(text, LABEL)[1] for text in texts.values()) + 8
        outside = [name for name in bar if text_size(texts[name], LABEL)[0] + 5 > bar[name] * scale]
        top += 30 if outside else 0
        start, free_from = 0.0, -np.inf
        for name, size in bar.items():
            stop = start + size * scale
            text = "" if name in outside else texts[name]
            canvas.box((start, top, stop, top + height), colors[name], text, LABEL, 0)
            if name in outside:
                text, middle = texts[name].replace("\n", " "), (start + stop) / 2
                width = text_size(text, LABEL)[0]
                left = max(middle - width / 2, free_from)
                free_from = canvas.text(text, left, top - 12, "left", "bottom")[2] + 8
                canvas.line([(left + width / 2, top - 11), (middle, top)], arrow=False)
            start = stop
        canvas.text(bar_name, -8, top + height / 2, "right", size=BOX)
        canvas.text(f"합계 {sum(bar.values()):{fmt}} {unit}", start + 6, top + height / 2, "left")
        top += height + 12
    return canvas.finish(title)
