"""One look for every figure: Hangul font, colour-blind safe colours, and the few plots that recur.

Importing this module applies the style. Each helper draws on the axes it is given, or on a new figure,
and returns the axes, so that a notebook can add to the picture before ``plt.show()``.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

# Okabe and Ito, "Color Universal Design" (2008), in an order that keeps neighbours apart on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def hangul_font() -> str:
    """Register the packaged Noto Sans KR (SIL Open Font License) and return its family name."""
    with as_file(files("pylopdf_fonts_ko") / "NotoSansKR-Regular.otf") as path:
        font_manager.fontManager.addfont(path)
        return font_manager.FontProperties(fname=path).get_name()


def use_style() -> None:
    """Apply the curriculum's style to every figure drawn from now on."""
    matplotlib.rcParams.update(
        {
            # A fallback list: Korean text in Noto Sans KR, symbols that it lacks in DejaVu Sans.
            "font.family": [hangul_font(), "DejaVu Sans"],
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "regular",
            "axes.prop_cycle": matplotlib.cycler(color=COLORS),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.alpha": 0.3,
            "image.cmap": "viridis",
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            # White behind the axes too, so that black text stays readable in a dark editor theme.
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "mathtext.fontset": "dejavusans",
        }
    )


def image_grid(
    images, titles: Sequence[str] | None = None, columns: int = 8, size: float = 1.1, title: str | None = None
) -> np.ndarray:
    """Draw images in rows.

    Args:
        images: (N, H, W), (N, H, W, 1) or (N, H, W, 3); integers in 0..255, or floats, of which grey ones
            are scaled to their common range and coloured ones clipped to 0..1.
        titles: one short text per image.
        columns: images per row.
        size: width of one image in inches.
        title: title of the whole figure.

    Returns:
        The axes, shape (rows, columns).
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.dtype.kind == "f" and images.ndim == 4:
        images = images.clip(0, 1)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = size * (1.2 if titles is not None else 1.0)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * size, rows * height + (0.35 if title else 0)), squeeze=False
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])  # Nobody sees them, but half of the time goes into their places.
        axis.axis("off")
    for index, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image, cmap="gray", vmin=images.min(), vmax=images.max())
        if titles is not None:
            axis.set_title(str(titles[index]), fontsize=9, pad=2)
    if title:
        figure.suptitle(title, fontsize=11)
    return axes


def mosaic(images, rows: Sequence[str], *, title: str, size: float = 0.8) -> Axes:
    """Draw rows of small grey images as one picture, which takes a tenth of the time of an axes for each image.

    Args:
        images: (rows, columns, H, W), values in -1..1.
        rows: one short text per row.
        title: title of the figure.
        size: width of one image in inches.
    """
    # White lines between them.
    images = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    count, columns, height, width = images.shape
    ax = plt.subplots(figsize=(columns * size, count * size * height / width + 0.5))[1]
    whole = images.swapaxes(1, 2).reshape(count * height, columns * width)
    ax.imshow(whole, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(title=title, xticks=[])
    ax.set_yticks(height * np.arange(count) + (height - 2) / 2, rows)
    ax.grid(False)
    return ax


def curves(
    series: Mapping[str, Sequence],
    x: Sequence | None = None,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    markers: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw one line per entry of ``series`` (name → values, each of the length of ``x``) with a legend.

    Lines also differ in dash pattern, so that they can be told apart without colour.
    """
    ax = ax if ax is not None else plt.subplots()[1]
    dashes = ("-", "--", "-.", ":")
    for index, (name, values) in enumerate(series.items()):
        positions = np.arange(1, len(values) + 1) if x is None else x
        ax.plot(
            positions, values, dashes[index % len(dashes)], label=name, marker="o" if markers else None, ms=4
        )
    if logx:
        ax.set_xscale("log")
    if logy:
        ax.set_yscale("log")
    if x is None and not logx:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if len(series) > 1:
        ax.legend()
    return ax


def heatmap(
    matrix,
    *,
    title: str,
    xlabel: str = "",
    ylabel: str = "",
    xticks: Sequence[str] | None = None,
    yticks: Sequence[str] | None = None,
    fmt: str | None = None,
    diverging: bool = False,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix (rows, columns) as colours, row 0 on top.

    Args:
        fmt: format of the number written into each cell, such as ``".2f"``; ``None`` writes none.
        diverging: use a colour map centred on 0, for values of both signs.
    """
    matrix = np.asarray(matrix)
    ax = ax if ax is not None else plt.subplots()[1]
    limit = (np.abs(matrix).max() or 1.0) if diverging else None
    picture = ax.imshow(
        matrix,
        cmap="RdBu_r" if diverging else "viridis",
        vmin=-limit if diverging else None,
        vmax=limit,
        aspect="auto",
    )
    ax.grid(False)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    for axis, labels in ((ax.xaxis, xticks), (ax.yaxis, yticks)):
        if labels is None:
            axis.set_major_locator(MaxNLocator(integer=True))
        else:
            axis.set_ticks(range(len(labels)), labels)
    if fmt is not None:
        for (row, column), value in np.ndenumerate(matrix):
            red, green, blue, _ = picture.to_rgba(value)
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(
                column,
                row,
                format(value, fmt),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else "black",
            )
    if colorbar:
        ax.figure.colorbar(picture, ax=ax)
    return ax


def contour(
    function: Callable,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    paths: Mapping[str, np.ndarray] | None = None,
    levels: int | Sequence[float] = 20,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw contour lines of ``function(X, Y)`` with trajectories on top.

    Args:
        function: maps two arrays of shape (100, 100) to one of that shape.
        paths: name → points, shape (steps, 2); the start is a circle, the end a star.
        log: space the levels logarithmically; ``function`` must then be positive.
    """
    ax = ax if ax is not None else plt.subplots()[1]
    grid_x, grid_y = np.meshgrid(np.linspace(*xlim, 100), np.linspace(*ylim, 100))
    values = np.asarray(function(grid_x, grid_y))
    if log and isinstance(levels, int):
        levels = np.geomspace(max(values.min(), values.max() * 1e-6), values.max(), levels)
    ax.contour(grid_x, grid_y, values, levels=levels, colors="0.6", linewidths=0.7)
    for index, (name, points) in enumerate((paths or {}).items()):
        points, color = np.asarray(points), COLORS[index % len(COLORS)]
        ax.plot(points[:, 0], points[:, 1], "-", color=color, label=name, marker=".", ms=3, lw=1.2)
        ax.plot(*points[0], "o", color=color, ms=6)
        ax.plot(*points[-1], "*", color=color, ms=11)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=ylim)
    ax.grid(False)
    if paths:
        ax.legend()
    return ax


use_style()
