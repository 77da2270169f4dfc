import warnings
from itertools import combinations
from textwrap import dedent

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

from tf_study import diagram
from tf_study.canvas import WIDEST, Canvas
from tf_study.diagram import Diagram, memory, timeline
from tf_study.errors import StudyError


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def bounds(artist):
    return np.array(artist.get_window_extent().extents) * 72 / artist.figure.dpi


def solid(ax):
    """The boxes of a schematic, without frames."""
    return [p for p in ax.patches if isinstance(p, FancyBboxPatch | Ellipse) and p.get_zorder() >= 2]


def frames(ax):
    return [p for p in ax.patches if isinstance(p, FancyBboxPatch) and p.get_zorder() < 2]


def arrows(ax):
    """The points of the arrows in the order in which they were drawn, shape (points, 2)."""
    lines = [p for p in ax.patches if isinstance(p, FancyArrowPatch) and p.get_zorder() == 3]
    return [line._path_original.vertices for line in lines]


def box_of(ax, text):
    """Bounds (left, top, right, bottom) in the coordinates of the schematic of the box that holds a text."""
    x, y = text_of(ax, text).get_position()
    patches = [p.get_path().get_extents(p.get_patch_transform()).extents for p in solid(ax)]
    return next(b for b in patches if b[0] < x < b[2] and b[1] < y < b[3])


def text_of(ax, text):
    return next(t for t in ax.texts if t.get_text() == text)


def common(one, two):
    """Width and height of what two rendered artists share, in points; both positive if they overlap."""
    return np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])


def misplaced(ax):
    """What overlaps in the rendered figure, found without the module's own check."""
    ax.figure.canvas.draw()
    page = np.array(ax.figure.bbox.extents) * 72 / ax.figure.dpi
    boxes, texts = [bounds(p) for p in solid(ax)], [(t.get_text(), bounds(t)) for t in ax.texts]
    found = [("boxes", *common(a, b)) for a, b in combinations(boxes, 2) if (common(a, b) > 1).all()]
    found += [(a, b) for (a, s), (b, t) in combinations(texts, 2) if (common(s, t) > 1).all()]
    for text, area in texts:
        found += [(text, "page")] * bool((common(area, page) < area[2:] - area[:2] - 0.01).any())
        for box in boxes:
            shared = common(area, box)
            if (shared > 1).all() and (shared < area[2:] - area[:2] - 0.01).any():
                found.append((text, "leaves or touches a box"))
    return found


LONG = "사람이 정한 이름이 매우 긴 전처리 단계"


def example():
    d = Diagram("긴 이름의 흐름")
    first, second = d.box(LONG, "data"), d.box("두 줄로 나누어 적은\n매우 긴 이름의 층", "param")
    d.arrow(first, "(배치, 시간, 특징)", second)
    below = d.box(LONG[:12], "loss", at=second.below)
    d.arrow(second, "아래로 가는 긴 이름의 텐서", below)
    d.arrow(below, "거꾸로 가는 기울기", second, dashed=True)
    d.arrow(first, "돌아가는 길", second, sides="top-top")
    d.frame("상자보다 길게 적은 묶음 이름", below)
    return d.draw()


def attention():
    d = Diagram("어텐션 블록", down=True)
    x = d.box("입력", "data", at=(0, 1))
    q, k, v = (d.box(f"${name}$", "param", at=(1, column)) for column, name in enumerate("QKV"))
    score, out = d.box("소프트맥스", "op", at=(2, 0.5)), d.box("가중합", "op", at=(3, 1))
    end = d.box("+", "op")
    for middle in (q, k, v):
        d.arrow(x, middle)
    d.arrow(q, "(B, T, $d_k$)", score, "(B, T, T)", out, "(B, T, d)", end)
    d.arrow(k, score)
    d.arrow(v, "(B, T, $d_v$)", out)
    d.arrow(x, "잔차 연결", end, sides="right-right")
    d.frame("셀프 어텐션", q, k, v, score, out)
    return d.draw()


def routing():
    d = Diagram("경로 배정")
    cells = d.grid(
        np.eye(3),
        fmt=".2f",
        rows=["첫째 토큰", "둘째 토큰", "셋째"],
        columns=["전문가 하나", "둘", "셋"],
        names=("토큰", "전문가"),
        caption="아주 긴 설명이 칸 아래에 옵니다 (T, E)",
    )
    d.arrow(cells, "(T, E)", d.box("모으기", "op"))
    return d.draw()


def serving():
    return timeline(
        {
            "이름이 긴 요청": [(0, 1, "매우 짧은 칸", "data"), (1, 4, "디코드", "op")],
            "요청 B": [(2, 3, "", "plain")],
        },
        title="요청",
        xlabel="시간 (ms)",
        marks={"첫 토큰": 1},
        legend={"프리필": "data"},
    )


def small_parts():
    bars = {
        "LoRA 학습": {"가중치": 16, "LoRA 가중치": 0.1, "LoRA 기울기": 0.1, "모멘트": 0.2},
        "전체": {"가중치": 4},
    }
    return memory(bars, title="메모리", unit="GB")


@pytest.mark.parametrize("draw", [example, attention, routing, serving, small_parts])
@pytest.mark.parametrize("dpi", [72, 90, 150])
def test_no_text_leaves_its_box_or_meets_another(draw, dpi):
    with plt.rc_context({"figure.dpi": dpi}), warnings.catch_warnings():
        warnings.simplefilter("error")  # missing glyphs
        assert misplaced(draw()) == []


def test_the_test_sees_what_is_misplaced():
    ax = example()
    text_of(ax, LONG).set_fontsize(14)
    assert (LONG, "leaves or touches a box") in misplaced(ax)


@pytest.mark.parametrize("draw", [example, attention, routing, serving, small_parts])
def test_type_is_at_least_nine_points_and_the_page_white_and_narrow(draw):
    ax = draw()
    assert min(text.get_fontsize() for text in ax.texts) >= 9
    assert to_hex(ax.figure.get_facecolor()) == "#ffffff"
    assert ax.figure.get_figwidth() * 72 <= WIDEST + 16


def test_the_example_in_the_docstring_runs():
    code = dedent(diagram.__doc__.split("::\n")[1].split("\n\nA box of")[0])
    assert code.count("d.arrow") == 4
    names = {"Diagram": Diagram, "plt": plt}
    with plt.rc_context({"figure.dpi": 90}):
        exec(code, names)
        assert misplaced(plt.gca()) == []


def test_boxes_go_right_down_or_where_they_are_told():
    d = Diagram()
    one, two = d.box("하나"), d.box("둘째")
    three = d.box("셋째", at=one.below)
    d.draw()
    assert one.center[1] == two.center[1] and one.bounds[2] < two.bounds[0]
    assert three.center[0] == one.center[0] and one.bounds[3] < three.bounds[1]
    d = Diagram(down=True)
    one, two, half = d.box("하나"), d.box("둘째"), d.box("사이", at=(0.5, 1))
    d.draw()
    assert one.center[0] == two.center[0] and one.bounds[3] < two.bounds[1]
    assert half.center[1] == pytest.approx((one.center[1] + two.center[1]) / 2)


def test_a_span_covers_its_rows():
    d = Diagram()
    rows = [d.box(f"장치 {k}", at=(k, 0)) for k in range(3)]
    wide = d.box("올리듀스", "mark", at=(0, 1), span=(3, 1))
    for row in rows:
        d.arrow(row, wide)
    ax = d.draw()
    assert wide.bounds[1] == rows[0].bounds[1] and wide.bounds[3] == rows[2].bounds[3]
    assert [points[0][1] for points in arrows(ax)] == [points[-1][1] for points in arrows(ax)]


def test_a_span_widens_its_columns():
    d = Diagram()
    narrow = [d.box("가나", at=(1, column)) for column in (0, 1)]
    wide = d.box("두 열에 걸친 아주 긴 이름의 층", at=(0, 0), span=(1, 2))
    d.draw()
    assert wide.center[0] == pytest.approx((narrow[0].center[0] + narrow[1].center[0]) / 2)
    assert wide.bounds[0] < narrow[0].bounds[0] - 5 and narrow[1].bounds[2] + 5 < wide.bounds[2]
    assert narrow[1].center[0] - narrow[0].center[0] == pytest.approx((wide.size[0] + 30) / 2)


def test_an_arrow_joins_the_edges_and_its_label_has_room():
    def distance(label):
        d = Diagram()
        one, two = d.box("하나"), d.box("둘째")
        d.arrow(one, label, two)
        ax = d.draw()
        (points,) = arrows(ax)
        assert points[0][0] == pytest.approx(one.bounds[2]) and points[-1][0] == pytest.approx(two.bounds[0])
        return two.bounds[0] - one.bounds[2], ax

    assert distance("")[0] == pytest.approx(30)
    width, ax = distance("(배치, 높이, 너비, 채널)")
    label = bounds(text_of(ax, "(배치, 높이, 너비, 채널)"))
    assert width >= label[2] - label[0] + 10


def test_branches_and_merges_turn_at_right_angles():
    d = Diagram()
    start = d.box("시작", at=(0.5, 0))
    top, low = d.box("위쪽", at=(0, 1)), d.box("아래", at=(1, 1))
    end = d.box("합치기", at=(0.5, 2))
    d.arrow(start, "(A)", top, "(C)", end)
    d.arrow(start, "(B)", low, "(D)", end)
    ax = d.draw()
    paths = arrows(ax)
    assert all((np.diff(path, axis=0) == 0).any(axis=1).all() and len(path) == 4 for path in paths)
    up, join_up, down, join_low = paths
    assert up[1][0] == down[1][0] and up[-1][1] != down[-1][1]  # one branching point
    assert join_up[2][0] == join_low[2][0] and np.array_equal(join_up[-1], join_low[-1])
    assert text_of(ax, "(A)").get_position()[1] < up[-1][1]
    assert up[1][0] < text_of(ax, "(A)").get_position()[0] < top.bounds[0]
    assert top.bounds[2] < text_of(ax, "(C)").get_position()[0] < join_up[1][0]


def test_opposite_arrows_stand_apart_with_labels_on_both_sides():
    d = Diagram()
    one, two = d.box("하나"), d.box("둘째")
    d.arrow(one, "앞", two)
    d.arrow(two, "뒤", one, dashed=True)
    ax = d.draw()
    there, back = arrows(ax)
    assert (
        back[0][1] - there[0][1] == pytest.approx(10)
        and there[0][0] < there[1][0]
        and back[0][0] > back[1][0]
    )
    assert (
        text_of(ax, "앞").get_position()[1] < there[0][1] and text_of(ax, "뒤").get_position()[1] > back[0][1]
    )


@pytest.mark.parametrize("side, axis, outer", [("top-top", 1, min), ("bottom-bottom", 1, max)])
def test_an_arrow_goes_around_what_lies_between(side, axis, outer):
    d = Diagram()
    boxes = [d.box(text) for text in ("하나", "두 줄로\n적은 것", "셋째")]
    d.arrow(*boxes)
    d.arrow(boxes[0], "잔차", boxes[2], sides=side)
    ax = d.draw()
    path = arrows(ax)[-1]
    edge = outer(box.bounds[axis if outer is min else axis + 2] for box in boxes)
    assert abs(path[1][axis] - edge) == pytest.approx(13) and outer(path[1][axis], edge) != edge
    assert outer(text_of(ax, "잔차").get_position()[axis], path[1][axis]) != path[1][axis]


def test_a_residual_arrow_goes_around_the_branches_it_skips():
    d = Diagram(down=True)
    start = d.box("입력", "data", at=(0, 0))
    sides = [d.box(text, "param", at=(1, column)) for column, text in enumerate(["왼쪽", "오른쪽"])]
    end = d.box("+", "op", at=(2, 0))
    for side in sides:
        d.arrow(start, side, end)
    d.arrow(start, end, sides="right-right")
    path = arrows(d.draw())[-1]
    assert path[:, 0].max() > sides[1].bounds[2] + 8


def test_arrows_around_from_one_side_share_a_line():
    d = Diagram()
    boxes = [d.box(f"상자 {k}") for k in range(3)]
    for target in boxes[1:]:
        d.arrow(boxes[0], target, sides="bottom-bottom")
    one, two = arrows(d.draw())
    assert one[1][1] == two[1][1] and one[-1][0] < two[-1][0]


def test_a_label_stays_clear_of_frames_and_of_the_branches_beside_it():
    d = Diagram()
    start = d.box("라우터", at=(1, 0))
    experts = [d.box(f"전문가 {k}", at=(k, 1)) for k in range(3)]
    end = d.box("출력", at=(1, 2))
    for k, expert in enumerate(experts):
        d.arrow(start, f"{k + 1}번째 가중치", expert)
    d.arrow(experts[1], "(N, d)", end)
    d.frame("전문가들", *experts)
    ax = d.draw()
    frame, label = bounds(frames(ax)[0]), bounds(text_of(ax, "(N, d)"))
    (target,) = (bounds(p) for p in solid(ax) if bounds(p)[0] > frame[2])
    assert label[0] + label[2] == pytest.approx(frame[2] + target[0], abs=1)
    places = [text_of(ax, f"{k + 1}번째 가중치").get_position()[0] for k in range(3)]
    assert places == pytest.approx([places[0]] * 3)
    assert all(bounds(text_of(ax, f"{k + 1}번째 가중치"))[2] < frame[0] for k in range(3))


def test_a_loop_leaves_and_enters_at_different_points():
    d = Diagram()
    cell = d.box("순환 셀", "param")
    d.arrow(cell, "한 단계 전", cell)
    (path,) = arrows(d.draw())
    assert cell.bounds[0] < path[0][0] < cell.center[0] < path[-1][0] < cell.bounds[2]


def test_frames_hold_their_boxes_and_nest():
    d = Diagram()
    boxes = [d.box(f"상자 {k}") for k in range(3)]
    d.frame("바깥 묶음", *boxes)
    d.frame("안쪽 묶음", *boxes[:2])
    ax = d.draw()
    outer, inner = (bounds(frame) for frame in frames(ax))
    places = [bounds(patch) for patch in solid(ax)]

    def holds(one, two):
        return (one[:2] + 2 < two[:2]).all() and (two[2:] + 2 < one[2:]).all()

    assert holds(outer, inner) and all(holds(inner, place) for place in places[:2])
    assert holds(outer, places[2]) and not holds(inner, places[2])
    assert holds(inner, bounds(text_of(ax, "안쪽 묶음"))) and not holds(
        inner, bounds(text_of(ax, "바깥 묶음"))
    )


def test_a_caption_avoids_the_arrows_into_its_frame():
    d = Diagram(down=True)
    source, target = d.box("입력"), d.box("층")
    d.arrow(source, target)
    d.frame("되풀이하는 블록 ×12", target)
    assert misplaced(d.draw()) == []


def test_one_character_makes_a_circle():
    d = Diagram()
    d.box("+", "op"), d.box("더하기", "op")
    circle, box = solid(d.draw())
    assert isinstance(circle, Ellipse) and circle.width == circle.height
    assert isinstance(box, FancyBboxPatch)


def test_roles_have_distinct_colours_and_a_legend():
    d = Diagram()
    for role in ("data", "param", "op", "loss", "mark", "plain", "#123456"):
        d.box(f"상자 {role}", role)
    ax = d.draw()
    assert len({to_hex(patch.get_facecolor()) for patch in solid(ax)[:7]}) == 7
    assert [t.get_text() for t in ax.texts if "상자" not in t.get_text()] == [
        "데이터",
        "파라미터",
        "연산",
        "손실",
    ]
    assert len(solid(ax)) == 7 + 4
    assert len(solid(d.draw(legend=False))) == 7


def raises(match, action):
    with pytest.raises(StudyError, match=match):
        action()
    assert plt.get_fignums() == []


def test_what_overlaps_is_named():
    d = Diagram()
    d.box("하나", at=(0, 0)), d.box("둘째", at=(0, 0))
    raises("'둘째', '하나'", d.draw)

    d = Diagram()
    one, _, last = d.box("하나"), d.box("가운데"), d.box("마지막")
    d.arrow(one, last)
    raises("'하나' → '마지막' 화살표, '가운데'", d.draw)


def test_mistakes_are_explained():
    raises("먼저 더하세요", Diagram().draw)
    raises("역할이 없으니", lambda: [d := Diagram(), d.box("상자", "없는 역할"), d.draw()])
    d = Diagram()
    one, two = d.box("하나"), d.box("둘째")
    raises("right-left", lambda: d.arrow(one, two, sides="위-아래"))
    d = Diagram()
    for number in range(12):
        d.box(f"{number}번째 상자")
    raises("9.5인치를 넘으니", d.draw)


def test_the_canvas_refuses_text_wider_than_its_box():
    canvas = Canvas()
    canvas.box((0, 0, 30, 20), text="상자보다 넓은 글")
    raises("'상자보다 넓은 글' 글이 상자를 벗어나니", lambda: canvas.finish(""))


def test_grid_writes_values_and_colours():
    d = Diagram()
    d.grid([[1.25, None], ["가", 3]], color=lambda r, c: "data" if (r, c) == (1, 0) else None, fmt=".1f")
    ax = d.draw()
    assert [text.get_text() for text in ax.texts] == ["1.2", "가", "3.0"]
    cells = [(bounds(p), to_hex(p.get_facecolor())) for p in solid(ax)]
    assert [color == cells[0][1] for _, color in cells] == [True, True, False, True]
    assert cells[0][0][2] == pytest.approx(cells[1][0][0]) and cells[0][0][1] == pytest.approx(cells[2][0][3])


def test_grids_in_a_row_are_level():
    d = Diagram()
    (
        d.grid(np.zeros((2, 2)), columns=["가", "나"], names=("행", "열")),
        d.grid(np.ones((2, 2)), caption="(2, 2)"),
    )
    places = [bounds(p) for p in solid(d.draw())]
    assert places[0][1] == pytest.approx(places[4][1])


def test_timeline_is_in_proportion():
    ax = timeline(
        {"A": [(0, 2, "하나", "data"), (2, 6, "둘", "op")], "B": [(4, 4, "셋", "data")]},
        title="제목",
        xlabel="시간 (ms)",
        marks={"지금": 4},
    )
    one, two, three = (box_of(ax, text) for text in ("하나", "둘", "셋"))
    assert two[2] - two[0] == pytest.approx(3 * (one[2] - one[0])) and one[2] == pytest.approx(two[0])
    assert three[0] == pytest.approx((two[0] + two[2]) / 2 - (one[2] - one[0]) / 2)
    assert text_of(ax, "지금").get_position()[0] == pytest.approx(three[0])
    ticks = {t.get_text(): t.get_position()[0] for t in ax.texts if t.get_text().isdigit()}
    assert ticks["0"] == pytest.approx(one[0]) and ticks["4"] == pytest.approx(three[0])


def test_timeline_needs_no_texts():
    ax = timeline({"A": [(0, 2, "", "data")], "B": [(2, 6, "", "op")]}, title="제목", xlabel="시간 (ms)")
    assert len(solid(ax)) == 2


def test_timeline_refuses_what_cannot_be_written():
    lanes = {"A": [(0, 1, "이 글은 너무 깁니다", "data"), (1, 99, "나머지", "op")]}
    raises("'이 글은 너무 깁니다'", lambda: timeline(lanes, title="제목", xlabel="시간 (s)"))
    overlapping = {"A": [(0, 3, "앞 일", "data"), (2, 3, "뒷일", "op")]}
    raises("'뒷일', '앞 일'", lambda: timeline(overlapping, title="제목", xlabel="시간 (s)"))


def test_memory_is_in_proportion_and_keeps_colours():
    ax = memory(
        {"큰 것": {"가중치": 4, "모멘트": 8}, "작은 것": {"모멘트": 4, "가중치": 2}}, title="제목", unit="GB"
    )
    sizes = [bounds(p)[2] - bounds(p)[0] for p in solid(ax)]
    assert np.array(sizes) / sizes[3] == pytest.approx([2, 4, 2, 1])
    colors = [to_hex(p.get_facecolor()) for p in solid(ax)]
    assert colors[0] == colors[3] != colors[1] == colors[2]
    assert text_of(ax, "합계 12 GB") and text_of(ax, "합계 6 GB") and text_of(ax, "모멘트\n8 GB")


def test_memory_writes_narrow_segments_above_the_bar():
    ax = small_parts()
    bar = min(bounds(p)[1] for p in solid(ax)[:4]), max(bounds(p)[3] for p in solid(ax)[:4])
    for text in ("LoRA 가중치 0.1 GB", "LoRA 기울기 0.1 GB", "모멘트 0.2 GB"):
        assert bounds(text_of(ax, text))[1] > bar[1]
