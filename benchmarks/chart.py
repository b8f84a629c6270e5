# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG, drawn here: a few panels below each other, of bars or of a line, readable in light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 760
MARGIN: Final = 12  # beside it, for the last of the words below an axis
HEIGHT: Final = 190  # of a panel, its title and labels included
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 34
_STYLE: Final = """\
svg { font: 12px system-ui, sans-serif; background: #fff; color: #222 }
text { fill: currentColor } .title { font-weight: 600; font-size: 13px } .grid { stroke: currentColor; opacity: .15 }
.bar { fill: #2a6f97 } .line { fill: none; stroke: #2a6f97; stroke-width: 1.5 } .goal { stroke: #c1121f; fill: none;
stroke-dasharray: 5 4 } .goal-text { fill: #c1121f } @media (prefers-color-scheme: dark) { svg { background: #16181c;
color: #ddd } .bar { fill: #8ecae6 } .line { stroke: #8ecae6 } .goal { stroke: #ff8b94 } .goal-text { fill: #ff8b94 } }
"""


@dataclass(frozen=True)
class Panel:
    """A title, and values over places; ``goal`` is a horizontal line that they should stay below."""

    title: str
    values: Sequence[float]
    labels: Sequence[str]  # one for each bar, or spread along the line
    unit: str
    is_line: bool = False
    goal: float | None = None


def write(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write the panels as one picture."""
    height = 40 + HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + MARGIN} {height}" role="img">',
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {40 + HEIGHT * number})">{_panel(panel)}</g>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]))


def _panel(panel: Panel) -> str:
    top = _round_up(max([*panel.values, panel.goal or 0.0, 1e-9]))
    width, bottom = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * value / top

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(panel.title)}</text>']
    for part in range(5):
        value = top * part / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        text = f"{value:g} {panel.unit}".strip()
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    step = width / max(1, len(panel.values) - panel.is_line)
    if panel.is_line:
        points = " ".join(f"{LEFT + step * at:.1f},{y(value):.1f}" for at, value in enumerate(panel.values))
        parts.append(f'<polyline class="line" points="{points}"/>')
    else:
        for at, value in enumerate(panel.values):
            place = f'x="{LEFT + step * (at + 0.1):.1f}" y="{y(value):.1f}" width="{step * 0.8:.1f}"'
            parts.append(f'<rect class="bar" {place} height="{bottom - y(value):.1f}"/>')
    gap = width / max(1, len(panel.labels) - panel.is_line)
    for at, label in enumerate(panel.labels):
        x = LEFT + gap * (at + (0 if panel.is_line else 0.5))
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>')
    if panel.goal is not None:
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(panel.goal):.1f}" y2="{y(panel.goal):.1f}"'
        parts.append(f'<line class="goal" {line}/>')
        parts.append(
            f'<text class="goal-text" x="{WIDTH - RIGHT}" y="{y(panel.goal) - 4:.1f}" text-anchor="end">goal</text>'
        )
    return "".join(parts)


def _round_up(value: float) -> float:
    """Return the next 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 4, 8, 10) if factor * power >= value * 0.999)
