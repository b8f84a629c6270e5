# SPDX-License-Identifier: Apache-2.0
"""A chart of builds, as SVG: which part was at work when; readable in light and dark."""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from allotment.errors import AllotmentError
from allotment_recipes.graph.events import FINAL, Event, read

WIDTH: Final = 760
LEFT: Final = 96  # for the names of parts
RIGHT: Final = 64  # for the last bar's seconds
ROW: Final = 20
HEAD: Final = 34  # a panel's title
FOOT: Final = 34  # its seconds
_STYLE: Final = """\
svg { font: 12px system-ui, sans-serif; background: #fff; color: #222 }
text { fill: currentColor } .title { font-weight: 600; font-size: 13px } .grid { stroke: currentColor; opacity: .15 }
.bar { fill: #2a6f97 } .failed { fill: #c1121f } @media (prefers-color-scheme: dark) { svg { background: #16181c;
color: #ddd } .bar { fill: #8ecae6 } .failed { fill: #ff8b94 } }
"""


@dataclass(frozen=True)
class Bar:
    """A part at work, in seconds from the beginning of the build."""

    part: str
    begin: float
    end: float
    has_failed: bool = False


@dataclass(frozen=True)
class Panel:
    """One build."""

    title: str
    bars: Sequence[Bar]


def bars(events: Iterable[Event]) -> list[Bar]:
    """Return what was at work in a build, in the order in which it began."""
    began: dict[str, float] = {}
    found = []
    for event in events:
        if event.event == "started":
            began[event.part] = event.at
        elif event.event in FINAL and event.part in began:
            start = min(began.values())
            found.append(
                Bar(event.part, began[event.part] - start, event.at - start, has_failed=event.event == "failed")
            )
    return sorted(found, key=lambda bar: (bar.begin, bar.end))


@contextlib.contextmanager
def charted(path: Path | None, folder: Path) -> Iterator[None]:
    """Draw what the block builds in a release's folder, also when it fails; nothing without a path.

    A path that can't be written is told before anything is built.
    """
    if path is not None and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise AllotmentError(f"--chart: {path} can't be written", "Name a file in a folder that you may write to")
    try:
        yield
    except BaseException:
        with contextlib.suppress(AllotmentError):  # why the build failed is what is to be told
            _draw_last(path, folder)
        raise
    _draw_last(path, folder)


def _draw_last(path: Path | None, folder: Path) -> None:
    found = bars(read(folder)) if path is not None else []
    if path is not None and found:
        title = f"{folder.name}: {max(bar.end for bar in found):.0f} s"
        try:
            path.write_text(draw(f"Parts of {folder.name}", [Panel(title, found)]))
        except OSError as error:
            raise AllotmentError(f"{path} can't be written: {error.strerror}", "Choose another file") from error


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return the picture of some builds, all in the same scale of time."""
    longest = max((bar.end for panel in panels for bar in panel.bars), default=1.0) or 1.0
    height = 36 + sum(HEAD + FOOT + ROW * len(panel.bars) for panel in panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    top = 36
    for panel in panels:
        lines.append(f'<g transform="translate(0 {top})">{_panel(panel, longest)}</g>')
        top += HEAD + FOOT + ROW * len(panel.bars)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, longest: float) -> str:
    scale = (WIDTH - LEFT - RIGHT) / longest
    bottom = HEAD + ROW * len(panel.bars)
    found = [f'<text class="title" x="{LEFT}" y="22">{escape(panel.title)}</text>']
    step = _step(longest)
    for number in range(int(longest / step) + 1):
        x = LEFT + scale * step * number
        found.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD - 4}" y2="{bottom}"/>')
        found.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{step * number:g} s</text>')
    for number, bar in enumerate(panel.bars):
        y = HEAD + ROW * number
        x, width = LEFT + scale * bar.begin, max(1.0, scale * (bar.end - bar.begin))
        style = "failed" if bar.has_failed else "bar"
        found.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(bar.part)}</text>')
        found.append(f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 5}" rx="2"/>')
        found.append(f'<text x="{x + width + 5:.1f}" y="{y + 12}">{bar.end - bar.begin:.1f}</text>')
    return "".join(found)


def _step(longest: float) -> float:
    """Return the seconds between two lines: 1, 2 or 5 times a power of ten, so that there are five to twelve."""
    power = 10.0 ** math.floor(math.log10(longest / 5))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= longest / 5)
