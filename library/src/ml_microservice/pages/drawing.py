"""Draws plots with matplotlib as SVG that takes colours and font from the surrounding page.

This module imports matplotlib, so a process that serves must not import it.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholder colours, replaced by CSS variables so that a plot follows the page's light or dark theme.
INK, MUTED, LINE, ACCENT, WRONG, ON_ACCENT = (f"#00000{number}" for number in range(1, 7))
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", WRONG: "wrong", ON_ACCENT: "on-accent"}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelpad": 7,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "legend.frameon": False,
    "legend.labelcolor": MUTED,
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Plot:
    """A plot with its title and explanation."""

    title: str
    sentence: str
    svg: str


def draw(title: str, sentence: str, paint: Callable[[Axes], None], height: float = 4.1) -> Plot:
    """Draw a plot by a function that paints on axes; `height` is in inches."""
    # The salt makes ids reproducible, and unique among the plots of a page.
    with style.context(["default", _STYLE | {"svg.hashsalt": title}]), warnings.catch_warnings():
        # The browser's font is used, which may have glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(5.6, height), layout="constrained")
        paint(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Plot(title, sentence, _for_page(written.getvalue()))


def shortened(name: str, limit: int) -> str:
    """A name on one line, cut to `limit` characters."""
    name = " ".join(name.split())
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _for_page(svg: str) -> str:
    """Remove prologue, fixed size, fonts, global style and group ids; replace colours by CSS variables."""
    svg = re.sub(r"\s*\n\s*", " ", svg[svg.index("<svg") :])
    svg = re.sub(r"<defs> <style.*?</style> </defs>", "", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*" ', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"; font-family: [^;\"]*", "", svg)
    return re.sub(r"(fill|stroke): (#00000[1-6])", lambda found: f"{found[1]}: var(--{_VARIABLES[found[2]]})", svg)
