import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tf_study import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_hangul_minus_and_greek_have_glyphs():
    axis = plt.subplots()[1]
    axis.set(title="한글 − 제목 α", xlabel="가로축 (초)", ylabel=r"$\eta$")
    axis.plot([-1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about every missing glyph
        axis.figure.canvas.draw()


def test_the_negative_control_lacks_hangul():
    with plt.rc_context({"font.family": ["DejaVu Sans"]}):
        axis = plt.subplots()[1]
        axis.set_title("한글")
        with pytest.warns(UserWarning, match="missing from font"):
            axis.figure.canvas.draw()


def test_image_grid_shapes():
    for shape in [(5, 4, 4), (5, 4, 4, 1), (5, 4, 4, 3)]:
        axes = plots.image_grid(np.random.default_rng(0).random(shape), titles="가나다라마", columns=3)
        assert axes.shape == (2, 3)
        assert len(axes[0, 0].images) == 1 and not axes[1, 2].images


def test_a_mosaic_is_one_picture_with_white_lines_between():
    axis = plots.mosaic(np.full((2, 3, 4, 5), 0.5), ["가", "나"], title="제목")
    picture = np.ma.filled(axis.images[0].get_array(), np.nan)
    assert picture.shape == (2 * 5, 3 * 6) and np.isnan(picture).sum() == 2 * 5 * 3 * 6 - 2 * 3 * 4 * 5
    assert [label.get_text() for label in axis.get_yticklabels()] == ["가", "나"]
    assert axis.get_yticks().tolist() == [1.5, 6.5] and axis.get_title() == "제목"


def test_curves_draws_every_series_with_distinct_style():
    axis = plots.curves({"가": [1, 2], "나": [2, 1]}, title="제목", xlabel="에포크", ylabel="손실", logy=True)
    assert [line.get_label() for line in axis.lines] == ["가", "나"]
    assert len({line.get_linestyle() for line in axis.lines}) == 2
    assert axis.get_yscale() == "log" and axis.get_title() == "제목"


def test_heatmap_writes_values_readably():
    axis = plots.heatmap([[0.0, 1.0]], title="제목", fmt=".1f", xticks=["가", "나"])
    assert [(text.get_text(), text.get_color()) for text in axis.texts] == [
        ("0.0", "white"),
        ("1.0", "black"),
    ]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["가", "나"]


def test_diverging_heatmap_is_centred_on_zero():
    image = plots.heatmap([[-1.0, 3.0]], title="제목", diverging=True).images[0]
    assert image.get_clim() == (-3.0, 3.0)


def test_contour_draws_the_path_with_start_and_end():
    path = np.array([[1.0, 1.0], [0.5, 0.2], [0.0, 0.0]])
    axis = plots.contour(
        lambda x, y: x**2 + y**2 + 0.1,
        (-2, 2),
        (-2, 2),
        title="가",
        xlabel="x",
        ylabel="y",
        paths={"경로": path},
        log=True,
    )
    assert [line.get_marker() for line in axis.lines] == [".", "o", "*"]
    assert np.array_equal(axis.lines[0].get_xydata(), path)


def test_heatmap_of_zeros_is_centred():
    axes = plots.heatmap(np.zeros((2, 2)), title="제목", diverging=True)
    assert axes.images[0].get_clim() == (-1, 1)
