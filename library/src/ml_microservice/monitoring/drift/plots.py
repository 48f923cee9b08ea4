"""The plots of the drift report: training in grey, the window over it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ml_microservice.monitoring.drift.result import BarsPicture, Drift, HistogramPicture, Picture
from ml_microservice.pages.drawing import ACCENT, INK, MUTED, WRONG, Plot, draw, shortened

LEGEND = ("training", "now")
DAY = 86_400


def drift_plots(drift: Drift) -> list[Plot]:
    """The plots of a comparison. Drift is drawn in the colour of errors."""
    color = WRONG if drift.alarm else ACCENT
    return [
        _histogram(drift, picture, color) if isinstance(picture, HistogramPicture) else _bars(drift, picture, color)
        for picture in drift.pictures
    ]


def _histogram(drift: Drift, picture: HistogramPicture, color: str) -> Plot:
    def paint(axes: Axes) -> None:
        axes.stairs(picture.reference, picture.edges, fill=True, color=MUTED, alpha=0.35, label=LEGEND[0])
        axes.stairs(picture.window, picture.edges, fill=True, color=color, alpha=0.14)
        axes.stairs(picture.window, picture.edges, color=color, linewidth=1.9, label=LEGEND[1])
        axes.set(xlim=(picture.edges[0], picture.edges[-1]), xlabel=picture.title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=drift.type == "int"))
        if drift.type == "datetime":
            _dates(axes, picture.edges)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y")
        _legend(axes)

    return draw(_title(drift, picture), "", paint, height=2.7)


def _bars(drift: Drift, picture: BarsPicture, color: str) -> Plot:
    def paint(axes: Axes) -> None:
        places = range(len(picture.names))
        axes.barh([place - 0.19 for place in places], picture.reference, 0.34, color=MUTED, alpha=0.45, label=LEGEND[0])
        axes.barh([place + 0.19 for place in places], picture.window, 0.34, color=color, label=LEGEND[1])
        axes.set_yticks(places, [shortened(name, 22) for name in picture.names], color=INK)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        axes.set(xlabel=picture.title)
        axes.spines["left"].set_visible(False)
        _legend(axes)

    return draw(_title(drift, picture), "", paint, height=max(2.2, 1.1 + 0.36 * len(picture.names)))


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=2, borderpad=0.2, handlelength=1.4)


def _title(drift: Drift, picture: Picture) -> str:
    """A unique title that describes the plot for users of screen readers."""
    return " ".join(filter(None, (drift.role, drift.name, picture.title, "in training and now")))


def _dates(axes: Axes, edges: Sequence[float]) -> None:
    span = edges[-1] - edges[0]
    form = "%Y" if span > 2000 * DAY else "%Y-%m" if span > 200 * DAY else "%m-%d" if span > 3 * DAY else "%m-%d %H:%M"

    def text(seconds: float, _: int | None) -> str:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):{form}}"

    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(text))
