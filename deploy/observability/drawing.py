"""A dashboard drawn from the answers to its queries, for where no Grafana runs: the picture in the README."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.observability.panels import WIDTH, Dashboard, Panel

_UNIT_IN = 0.72
_LINE_IN = 0.36
_DPI = 100
_PAPER, _CARD, _INK, _FAINT, _GRID = "#111217", "#181b1f", "#d5d6db", "#8e929b", "#2c3036"
_COLOURS = (
    "#73bf69", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#fade2a", "#8ab8ff", "#ffb357", "#96d98d", "#ff7383",
)  # fmt: skip
_NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": _INK}
_KNOWN = {
    "sent": "green", "in_time": "green", "letters sent": "green",
    "failed": "red", "lost": "red", "uncertain": "orange", "late": "orange",
}  # fmt: skip
_MOST = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name in the legend, and its values by seconds from the start."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The value shown where there is room for one."""
        return self.points[-1][1] if self.points else math.nan


Answers = Mapping[str, Sequence[Line]]
"""The series of each panel, by its title."""


def draw(dashboard: Dashboard, answers: Answers, note: str, path: Path) -> None:
    """Draw the dashboard into a PNG file; `note` stands beside its title."""
    height = _height(dashboard)
    figure = Figure(figsize=(WIDTH * _UNIT_IN, height * _LINE_IN + 0.7), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    size = figure.get_size_inches()
    _Sheet(figure, float(size[0]), float(size[1])).fill(dashboard, answers, note)
    figure.savefig(path, facecolor=_PAPER, metadata={"Software": None})


def _height(dashboard: Dashboard) -> int:
    lines = 0
    for row in dashboard.rows:
        lines += 1 + sum(height for height, _ in _packed(row.panels))
    return lines


def _packed(panels: Sequence[Panel]) -> list[tuple[int, list[Panel]]]:
    """Panels line by line, with the height of each line."""
    lines: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(each.width for each in lines[-1]) + panel.width > WIDTH:
            lines.append([])
        lines[-1].append(panel)
    return [(max(panel.height for panel in line), line) for line in lines]


class _Sheet:
    """The figure, filled from the top."""

    def __init__(self, figure: Figure, width_in: float, height_in: float) -> None:
        self._figure = figure
        self._width_in = width_in
        self._height_in = height_in
        self._top_in = 0.62

    def fill(self, dashboard: Dashboard, answers: Answers, note: str) -> None:
        """Title, rows and panels."""
        self._write(dashboard.title, 0.14, 0.38, size=17, weight="bold")
        self._write(note, self._width_in - 0.14, 0.38, size=10.5, colour=_FAINT, align="right")
        for row in dashboard.rows:
            self._write(f"▾  {row.title}", 0.14, self._top_in + 0.25, size=12.5, weight="bold")
            self._top_in += _LINE_IN
            for height, line in _packed(row.panels):
                left_in = 0.0
                for panel in line:
                    self._panel(panel, answers.get(panel.title, ()), left_in)
                    left_in += panel.width * _UNIT_IN
                self._top_in += height * _LINE_IN

    def _write(
        self, text: str, x_in: float, y_in: float, *, size: float, weight: str = "normal", colour: str = _INK,
        align: str = "left",
    ) -> None:  # fmt: skip
        self._figure.text(
            x_in / self._width_in, 1 - y_in / self._height_in, text,
            fontsize=size, fontweight=weight, color=colour, ha=align, va="baseline",
        )  # fmt: skip

    def _axes(self, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
        place = (
            left_in / self._width_in,
            1 - (top_in + height_in) / self._height_in,
            width_in / self._width_in,
            height_in / self._height_in,
        )
        return self._figure.add_axes(place, facecolor=_CARD)

    def _panel(self, panel: Panel, lines: Sequence[Line], left_in: float) -> None:
        width_in, height_in = panel.width * _UNIT_IN, panel.height * _LINE_IN
        card = self._axes(left_in + 0.05, self._top_in + 0.04, width_in - 0.1, height_in - 0.08)
        card.set(xticks=[], yticks=[])
        card.spines[:].set_color(_GRID)
        self._write(panel.title, left_in + 0.17, self._top_in + 0.3, size=10.5, weight="bold")
        if panel.kind == "stat":
            self._stat(panel, lines, left_in + width_in / 2)
        elif panel.kind == "bargauge":
            bars = self._axes(left_in + 1.95, self._top_in + 0.5, width_in - 2.75, height_in - 0.75)
            _bars(bars, panel, lines)
        else:
            _curves(self._axes(left_in + 0.72, self._top_in + 0.46, width_in - 0.95, height_in - 1.16), panel, lines)

    def _stat(self, panel: Panel, lines: Sequence[Line], middle_in: float) -> None:
        value = lines[0].last if lines else math.nan
        words = formatted(value, panel.unit, panel.decimals)
        self._write(
            words, middle_in, self._top_in + 0.98, size=25, weight="bold", colour=_judged(panel, value), align="center"
        )


def _judged(panel: Panel, value: float) -> str:
    """The colour of the last threshold that the value reaches."""
    colour = "green" if panel.steps else "text"
    for step, name in panel.steps:
        if value >= step:
            colour = name
    return _NAMED[colour]


def _plain(axes: Axes) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=_FAINT, labelsize=8.5, length=0)
    axes.grid(visible=True, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _bars(axes: Axes, panel: Panel, lines: Sequence[Line]) -> None:
    _plain(axes)
    shown = sorted(lines, key=lambda line: line.last)[-_MOST:]
    names, values = [line.name for line in shown], [line.last for line in shown]
    axes.barh(names, values, color="#f2495c", height=0.55, alpha=0.85)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_xlim(0, max([*values, 1]) * 1.02)
    for position, value in enumerate(values):
        axes.text(
            max([*values, 1]) * 1.05, position, formatted(value, panel.unit, panel.decimals),
            color=_INK, va="center", fontsize=10, fontweight="bold",
        )  # fmt: skip
    axes.set_ylim(len(names) - max(len(names), 4) - 0.7, len(names) - 0.3)  # the longest at the top
    axes.tick_params(axis="y", colors=_INK, labelsize=9)


def _curves(axes: Axes, panel: Panel, lines: Sequence[Line]) -> None:
    _plain(axes)
    shown = sorted(lines, key=lambda line: -sum(value for _, value in line.points if math.isfinite(value)))[:_MOST]
    if panel.is_stacked:
        _stack(axes, shown)
    else:
        for number, line in enumerate(shown):
            xs, ys = zip(*line.points, strict=True)
            axes.plot(xs, ys, color=_colour(line, number), linewidth=1.6, label=line.name)
            axes.fill_between(xs, ys, color=_colour(line, number), alpha=0.10, linewidth=0)
    _scale(axes, panel)
    if shown:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.09, -0.13), ncols=min(len(shown), 4), frameon=False, fontsize=8.5,
            labelcolor=_INK, handlelength=1.0, columnspacing=1.2, borderaxespad=0, handletextpad=0.5,
        )  # fmt: skip


def _stack(axes: Axes, lines: Sequence[Line]) -> None:
    times = sorted({time for line in lines for time, _ in line.points})
    below = [0.0] * len(times)
    for number, line in enumerate(lines):
        values = dict(line.points)
        above = [low + _number(values.get(time)) for low, time in zip(below, times, strict=True)]
        colour = _colour(line, number)
        axes.fill_between(times, below, above, color=colour, alpha=0.45, linewidth=0, label=line.name)
        axes.plot(times, above, color=colour, linewidth=1.1)
        below = above


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def _colour(line: Line, number: int) -> str:
    return _NAMED[_KNOWN[line.name]] if line.name in _KNOWN else _COLOURS[(number + 1) % len(_COLOURS)]


def _scale(axes: Axes, panel: Panel) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(_ticks(panel.unit)))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=panel.unit == "short"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02d}"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 3, 6]))
    axes.margins(x=0)
    bottom, top = axes.get_ylim()
    if panel.minimum is not None:
        bottom = panel.minimum
    axes.set_ylim(bottom, panel.maximum or max(top * 1.08, bottom + 1e-3 if top > 0 else 1))
    for value, name in panel.steps:
        if value <= axes.get_ylim()[1]:
            axes.axhline(value, color=_NAMED[name], linewidth=1, linestyle=(0, (4, 3)))


def _ticks(unit: str) -> Callable[[float, int], str]:
    return lambda value, _: formatted(value, unit, None)


def formatted(value: float, unit: str, decimals: int | None) -> str:
    """A value as Grafana shows its unit."""
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.{2 if decimals is None else decimals}f}".rstrip("0").rstrip(".") + " %"
    if unit == "s":
        return _duration(value)
    number = f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"
    return f"{number} /s" if unit == "ops" else number


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1_000:.3g} ms" if 0 < seconds < 1 else f"{seconds:.3g} s"
