"""Drawing a report's plots into one PNG, a panel below the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.lib.report import Bars, Lines, Plot, cell_text

# Told apart in print and by people who see few colours.
_COLOURS = ("#0b6fa4", "#d9822b", "#3a8f5c", "#a03d6f", "#6b6b6b", "#b5a12a")
_WIDTH = 8.0
_BAR = 0.24


def draw(plots: Sequence[Plot], path: Path) -> None:
    """Draws every plot, one below the other."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    heights = [_height(plot) for plot in plots]
    style: Any = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
    }
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            len(plots),
            1,
            figsize=(_WIDTH, sum(heights)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for plot, axis in zip(plots, axes[:, 0], strict=True):
            axis.set_title(plot.title)
            axis.set_xlabel(plot.x)
            if isinstance(plot, Bars):
                _bars(plot, axis)
            else:
                _lines(plot, axis)
        # No time and no version inside, so that the same figures give the same file.
        figure.savefig(path, dpi=120, metadata={"Software": None})
        pyplot.close(figure)


def _height(plot: Plot) -> float:
    if isinstance(plot, Lines):
        return 3.0
    return 1.1 + _BAR * len(plot.values) * len(plot.labels) + 0.08 * len(plot.labels)


def _bars(plot: Bars, axis: Any) -> None:
    names = list(plot.values)
    thick = 0.84 / len(names)
    most = max((v for values in plot.values.values() for v in values if v is not None), default=1.0)
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [row + (number - (len(names) - 1) / 2) * thick for row in range(len(plot.labels))]
        drawn = [(y, v) for y, v in zip(places, plot.values[name], strict=True) if v is not None]
        label = name if len(names) > 1 else None
        axis.barh([y for y, _ in drawn], [v for _, v in drawn], thick * 0.9, color=colour, label=label)
        for y, value in drawn:
            axis.annotate(
                cell_text(value), (value, y), (3, 0), textcoords="offset points", va="center", fontsize=8
            )
        if name in plot.limit:
            axis.axvline(plot.limit[name], color=colour, linestyle=":", linewidth=1.2)
    axis.set_yticks(range(len(plot.labels)), plot.labels)
    axis.invert_yaxis()
    axis.set_xscale("log" if plot.log else "linear")
    _plain(axis.xaxis)
    low = min((v for values in plot.values.values() for v in values if v), default=1.0)
    axis.set_xlim((low / 1.5, most * 1.8) if plot.log else (0, most * 1.12 or 1.0))
    if len(names) > 1:
        axis.legend(frameon=False, fontsize=8, loc="best")


def _lines(plot: Lines, axis: Any) -> None:
    for number, (name, points) in enumerate(plot.points.items()):
        axis.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=_COLOURS[number % len(_COLOURS)],
            marker="o" if plot.marks else None,
            markersize=4,
            linewidth=1.4,
            label=name,
        )
    for name, level in plot.limit.items():
        axis.axhline(level, color="#444444", linestyle=":", linewidth=1.2, label=name)
    axis.set_ylabel(plot.y)
    axis.set_xscale("log" if plot.log_x else "linear")
    axis.set_yscale("log" if plot.log_y else "linear")
    _plain(axis.xaxis)
    _plain(axis.yaxis)
    if not plot.log_y:
        axis.set_ylim(bottom=0)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    if len(plot.points) + len(plot.limit) > 1:
        axis.legend(frameon=False, fontsize=8)


def _plain(axis: Any) -> None:
    """Numbers as they are said: 10,000 instead of a power of ten."""
    axis.set_major_formatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:,.0f}")
