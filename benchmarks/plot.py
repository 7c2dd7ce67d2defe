"""One plot of bars as SVG, written by hand: no library is needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from benchmarks.figures import Spread

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 190, 170, 26, 54
BAR = "#4477aa"


def bars(title: str, unit: str, figures: Mapping[str, Spread]) -> str:
    """A bar for each median, a line over its spread; the longest bar fills the width.

    Raises ValueError if there is nothing to draw.
    """
    if not figures:
        raise ValueError("nothing to draw: no figures")
    most = max(figure.high for figure in figures.values()) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + ROW * len(figures) + 12
    rows = [_row(n, name, one, scale) for n, (name, one) in enumerate(figures.items())]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="22" font-size="16">{escape(title)}</text>',
            f'<text x="12" y="40" fill="#555">{escape(unit)}; lines: least and most</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _row(number: int, name: str, figure: Spread, scale: float) -> str:
    y = TOP + ROW * number
    middle = y + ROW / 2 - 2
    low, mid, high = (LEFT + v * scale for v in (figure.low, figure.median, figure.high))
    digits = 0 if figure.median >= 100 else 2
    return (
        f'<text x="{LEFT - 8}" y="{middle + 5:.1f}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{mid - LEFT:.1f}" height="{ROW - 6}" fill="{BAR}"/>'
        f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}" stroke="black" stroke-width="2"/>'
        f'<text x="{high + 8:.1f}" y="{middle + 5:.1f}">{figure.median:,.{digits}f}</text>'
    )
