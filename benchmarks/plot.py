"""Two kinds of plots, as SVG: bars with intervals, and lines. Logarithmic, since peers are a hundredfold apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from benchmarks.figures import Figure

Scale = Callable[[float], float]

WIDTH, LEFT, RIGHT, TOP, LINE = 800, 290, 80, 50, 24
OURS, OTHERS, INK, FAINT = "#0b6e4f", "#8a96a3", "#1d2733", "#d7dce1"
COLOURS = (OURS, "#c8553d", "#3d5a80", "#9a6fb0")


def bars(title: str, unit: str, rows: Sequence[tuple[str, Figure, bool]]) -> str:
    """:param rows: a name, what was measured of it, and whether it is ours; drawn from top to bottom."""
    low = 10 ** floor(log10(min(each.low for _, each, _ in rows)))
    high = 10 ** ceil(log10(max(each.high for _, each, _ in rows) * 1.01))
    height = TOP + LINE * len(rows) + 40
    place = _scale(low, high, LEFT, WIDTH - RIGHT)
    drawn = [_ticks(low, high, place, TOP - 8, height - 34)]
    for row, (name, each, ours) in enumerate(rows):
        top = TOP + row * LINE
        middle = top + LINE / 2 - 2
        length = place(each.median) - LEFT
        drawn += [
            _text(LEFT - 8, middle + 4, name, "end", bold=ours),
            f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="16" fill="{OURS if ours else OTHERS}"/>',
            _line(place(each.low), middle, place(each.high), middle, INK),
            _text(WIDTH - RIGHT + 8, middle + 4, short(each.median), "start", bold=ours),
        ]
    return _page(title, f"{unit}; the thin line is the interval", height, drawn)


def lines(title: str, across: str, up: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Both axes are logarithmic."""
    points = [point for each in series.values() for point in each]
    (left, right), (bottom, top) = (
        (10 ** floor(log10(min(values))), 10 ** ceil(log10(max(values) * 1.01)))
        for values in ([x for x, _ in points], [y for _, y in points])
    )
    height, edge = 380, 90
    place = _scale(left, right, edge, WIDTH - 40)
    rise = _scale(bottom, top, height - 70, TOP + 10)
    drawn = [_ticks(left, right, place, TOP + 10, height - 70)]
    for tick in _powers(bottom, top):
        drawn.append(_line(edge, rise(tick), WIDTH - 40, rise(tick), FAINT))
        drawn.append(_text(edge - 8, rise(tick) + 4, short(tick), "end"))
    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{place(x):.1f},{rise(y):.1f}" for x, y in each)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{place(x):.1f}" cy="{rise(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in each]
        drawn.append(_text(edge + 10 + 220 * number, height - 14, f"● {name}", "start", fill=colour))
    drawn.append(_text((edge + WIDTH - 40) / 2, height - 36, across, "middle"))
    return _page(title, up, height, drawn)


def short(value: float) -> str:
    """Two or three digits, as one reads them off a plot."""
    for power, letter in ((6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g}{letter}"
    return f"{value:.3g}"


def _page(title: str, below: str, height: float, drawn: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">'
    back = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>'
    names = [_text(12, 20, title, "start", bold=True), _text(12, 37, below, "start")]
    return "\n".join([head, f"<title>{escape(title)}</title>", back, *names, *drawn, "</svg>\n"])


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """From a value to its place."""
    return lambda value: start + (end - start) * log10(value / low) / log10(high / low)


def _powers(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(round(log10(low)), round(log10(high)) + 1)]


def _ticks(low: float, high: float, place: Scale, top: float, bottom: float) -> str:
    drawn = []
    for tick in _powers(low, high):
        drawn.append(_line(place(tick), top, place(tick), bottom, FAINT))
        drawn.append(_text(place(tick), bottom + 16, short(tick), "middle"))
    return "\n".join(drawn)


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False, fill: str = INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="12" fill="{fill}"{weight}>{escape(text)}</text>'
