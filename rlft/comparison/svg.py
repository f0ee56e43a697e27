"""The curves of a comparison as SVG, small enough to stand in a page; points say their numbers under the mouse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rlft.comparison.axes import AXIS_NAMES
from rlft.comparison.comparison import Arm, Comparison, Point, Question
from rlft.comparison.over_tasks import OverTasks
from rlft.comparison.tables import shown, x_text

COLOURS = (  # matplotlib's ten, so that the page and the picture agree
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
)
DASHES = ("none", "7 4", "2 3")
WIDTH, HEIGHT = 1000, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 12, 48  # margins


@dataclass(frozen=True)
class Scale:
    """From numbers to places on an axis of the picture."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def svg(comparison: Comparison, of: str = "") -> str:
    """The picture; `of` makes its names its own in a page with several."""
    question, arms = comparison.question, comparison.arms
    points = [point for arm in arms for point in arm.points]
    xs, ys = [point.x for point in points], [y for point in points for y in _extent(point)]
    x_ticks, y_ticks = ticks(xs), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if question.is_rate else ticks(ys)
    x = Scale(min(x_ticks), max(x_ticks), LEFT, WIDTH - RIGHT)
    y = Scale(min(y_ticks), max(y_ticks), HEIGHT - BOTTOM, TOP)
    lines = [_vertical(x(tick), x_text(question, tick)) for tick in x_ticks]
    lines += [_horizontal(y(tick), shown(question, tick)) for tick in y_ticks]
    curves = [_curve(f"{escape(of)}arm{i}", i, arm, question, x, y) for i, arm in enumerate(arms)]
    return _picture(lines, AXIS_NAMES[question.axis], curves)


def profiles(found: OverTasks) -> str:
    """Performance profiles: the share of a method's runs that are above a score, over all scores."""
    x_ticks = ticks(found.range)
    x, y = Scale(min(x_ticks), max(x_ticks), LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    lines = [_vertical(x(tick), f"{tick:.1f}") for tick in x_ticks]
    lines += [_horizontal(y(tick / 5), f"{20 * tick}%") for tick in range(6)]
    curves = []
    for i, method in enumerate(found.methods):
        corners = zip(*method.profile(*found.range), strict=True)
        line = " ".join(f"{x(score):.1f},{y(share):.1f}" for score, share in corners)
        curves.append(f'<g id="arm{i}">{_line(i, line)}</g>')
    return _picture(lines, "runs above this normalised score", curves)


def _picture(lines: Sequence[str], x_name: str, curves: Sequence[str]) -> str:
    """Curves over lines at ticks, with the name of the horizontal axis."""
    name = f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{x_name}</text>'
    return "\n".join([f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">', *lines, name, *curves, "</svg>"])


def _line(i: int, points: str) -> str:
    colour, dashes = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def ticks(values: Sequence[float]) -> list[float]:
    """A dozen round numbers or fewer, around the values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    power = 10 ** math.floor(math.log10(high - low))
    step = next(power * factor for factor in (0.2, 0.5, 1, 2) if (high - low) / (power * factor) <= 10)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _extent(point: Point) -> list[float]:
    numbers = (point.mean.value, point.mean.low, point.mean.high)
    return [number for number in numbers if not math.isnan(number)]


def _curve(name: str, i: int, arm: Arm, question: Question, x: Scale, y: Scale) -> str:
    """Band, line and points of an arm, in a group that can be hidden."""
    colour = COLOURS[i % len(COLOURS)]
    line = " ".join(f"{x(point.x):.1f},{y(point.mean.value):.1f}" for point in arm.points)
    bounded = [point for point in arm.points if not math.isnan(point.mean.low)]
    edge = [(point.x, point.mean.high) for point in bounded] + [(point.x, point.mean.low) for point in bounded[::-1]]
    band = " ".join(f"{x(at):.1f},{y(bound):.1f}" for at, bound in edge)
    dots = "".join(
        f'<circle cx="{x(point.x):.1f}" cy="{y(point.mean.value):.1f}" r="3.5">'
        f"<title>{escape(f'{arm.label}, {x_text(question, point.x)}: {shown(question, point.mean)}')}</title></circle>"
        for point in arm.points
    )
    return f'<g id="{name}" fill="{colour}"><polygon points="{band}" fill-opacity="0.13"/>{_line(i, line)}{dots}</g>'


def _vertical(at: float, label: str) -> str:
    return (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>'
        f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>'
    )


def _horizontal(at: float, label: str) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>'
        f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>'
    )
