"""The plots of the evaluation report.

This module imports matplotlib; only training imports this module.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from ml_microservice.evaluation import (
    METRICS,
    ClassificationDetails,
    Floats,
    Importance,
    Indices,
    RegressionDetails,
)
from ml_microservice.pages.drawing import ACCENT, INK, LINE, MUTED, ON_ACCENT, WRONG, Plot, draw, shortened

MOST_CLASSES = 16
MOST_FEATURES = 15
MOST_POINTS = 1500
OTHER = "other"


def classification_plots(
    details: ClassificationDetails, truth: Indices, predicted: Indices, probabilities: Floats | None
) -> list[Plot]:
    """Plots of a classifier's errors and of the quality of its probabilities."""
    plots = [_confusion(details)]
    if probabilities is not None and len(details.classes) == 2 and len(np.unique(truth)) == 2:
        plots.append(_roc(truth == 1, probabilities[:, 1], details.classes[1]))
    else:
        plots.append(_f1_bars(details))
    if probabilities is not None:
        confidence = probabilities[np.arange(len(truth)), predicted]
        plots += [_calibration(details), _confidence(confidence, predicted == truth)]
    return plots


def regression_plots(details: RegressionDetails, truth: Floats, predicted: Floats) -> list[Plot]:
    """Plots of a regression's errors."""
    return [_scatter(truth, predicted), _residuals(truth - predicted, details)]


def importance_plot(importance: Sequence[Importance], metric: str) -> Plot:
    """Plot the importance of features, which `importance` holds in falling order, measured by `metric`."""
    shown = list(reversed(importance[:MOST_FEATURES]))
    title = METRICS[metric].title.lower() if METRICS[metric].is_share else METRICS[metric].title
    label = f"{title} lost" if METRICS[metric].greater_is_better else f"{title} added"

    def paint(axes: Axes) -> None:
        drops, spread = [item.mean_drop for item in shown], [item.std for item in shown]
        colors = [ACCENT if drop > 0 else MUTED for drop in drops]
        axes.barh(range(len(shown)), drops, 0.62, color=colors)
        axes.errorbar(drops, range(len(shown)), xerr=spread, fmt="none", color=INK, elinewidth=0.9, capsize=2)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [shortened(item.feature, 26) for item in shown], color=INK)
        if METRICS[metric].is_share:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)

    sentence = (
        "How much worse the answers get when the values of one feature are shuffled among the rows: "
        "the longer the bar, the more the model relies on it. The thin line is the spread over repeats."
    )
    if len(importance) > MOST_FEATURES:
        sentence += f" The {MOST_FEATURES} strongest of {len(importance)} features are shown."
    return draw("What the model relies on", sentence, paint, height=max(2.4, 1.1 + 0.27 * len(shown)))


def _confusion(details: ClassificationDetails) -> Plot:
    names, counts = _largest_classes(details)
    size = len(names)

    def paint(axes: Axes) -> None:
        for row, column in np.ndindex(size, size):
            count, total = int(counts[row, column]), int(counts[row].sum())
            share = count / total if total else 0.0
            color = LINE if not count else ACCENT if row == column else WRONG
            corner = (column - 0.48, row - 0.48)
            axes.add_patch(
                Rectangle(corner, 0.96, 0.96, facecolor=color, alpha=0.35 + 0.65 * share if count else 0.4, linewidth=0)
            )
            ink = ON_ACCENT if share > 0.5 else INK if count else MUTED
            axes.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=min(12, 90 / size))
        labels = [shortened(name, 16) for name in names]
        slanted = max(map(len, labels)) * size > 48
        axes.set_xticks(range(size), labels, color=INK)
        if slanted:
            axes.tick_params(axis="x", labelrotation=45)
            for text in axes.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), labels, color=INK)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="the model's answer", ylabel="the truth")
        axes.spines[:].set_visible(False)

    sentence = "Each line is a true answer, each column what the model made of it: blue is right, orange a mix-up."
    mistakes = np.array(details.confusion)
    np.fill_diagonal(mistakes, 0)
    if mistakes.any():
        true, taken = np.unravel_index(mistakes.argmax(), mistakes.shape)
        many = f"{mistakes.max()} {'row' if mistakes.max() == 1 else 'rows'}"
        sentence += f" Most often, “{details.classes[true]}” is taken for “{details.classes[taken]}” ({many})."
    if size < len(details.classes):
        sentence += f" The {size - 1} most frequent of {len(details.classes)} classes are shown, the rest as one."
    return draw("What is mixed up with what", sentence, paint, height=4.1 if size < 10 else 5.2)


def _f1_bars(details: ClassificationDetails) -> Plot:
    largest = sorted(details.per_class, key=lambda scores: -scores.support)[:MOST_CLASSES]
    shown = [scores for scores in reversed(details.per_class) if scores in largest]

    def paint(axes: Axes) -> None:
        places = range(len(shown))
        thickness = 0.4 if len(shown) < 5 else 0.62
        axes.barh(places, [1] * len(shown), thickness, color=LINE, alpha=0.5)
        axes.barh(places, [scores.f1 or 0 for scores in shown], thickness, color=ACCENT)
        for place, scores in zip(places, shown, strict=True):
            text = "no rows" if scores.f1 is None else f"{scores.f1:.2f}"
            axes.text(1.02, place, text, va="center", color=INK)
        axes.set_yticks(places, [shortened(scores.name, 22) for scores in shown], color=INK)
        axes.set(xlim=(0, 1.14), xticks=(0, 0.25, 0.5, 0.75, 1), xlabel="F1 score")
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)

    sentence = "How well each class is found without false alarms: a full bar is perfect."
    if len(shown) < len(details.per_class):
        sentence += f" The {len(shown)} most frequent of {len(details.per_class)} classes are shown."
    return draw("How well each class is found", sentence, paint, height=4.1)


def _roc(positive: NDArray[np.bool_], scores: Floats, name: str) -> Plot:
    alarms, found, _ = roc_curve(positive, scores)
    if len(alarms) > MOST_POINTS:
        kept = np.linspace(0, len(alarms) - 1, MOST_POINTS).astype(int)
        alarms, found = alarms[kept], found[kept]

    def paint(axes: Axes) -> None:
        axes.fill_between(alarms, found, color=ACCENT, alpha=0.12, linewidth=0)
        axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(alarms, found, color=ACCENT, linewidth=2.2)
        axes.text(0.64, 0.56, "guessing", color=MUTED)
        _share_axes(axes, "false alarms among all others", f"found among all “{shortened(name, 20)}”")

    sentence = (
        f"The more of “{name}” one wants to find, the more false alarms one must accept: "
        "the closer the curve keeps to the top left corner, the better."
    )
    return draw("Finding against false alarms (ROC)", sentence, paint)


def _calibration(details: ClassificationDetails) -> Plot:
    bins = details.calibration

    def paint(axes: Axes) -> None:
        largest = max(item.rows for item in bins)
        confidence, right = [item.confidence for item in bins], [item.right for item in bins]
        axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(confidence, right, color=ACCENT, linewidth=1.6, alpha=0.6)
        sizes = [25 + 190 * item.rows / largest for item in bins]
        axes.scatter(confidence, right, s=sizes, color=ACCENT, linewidths=0, alpha=0.85, clip_on=False)
        _share_axes(axes, "how sure the model said it was", "how often it was right")

    sentence = (
        "When the model says it is 80 % sure, it should be right 8 times in 10: the closer to the dashed line, "
        f"the more its probabilities can be trusted. On average they are {100 * (details.calibration_error or 0):.0f} "
        "percentage points off. Larger dots stand for more rows."
    )
    return draw("Can its probabilities be trusted?", sentence, paint)


def _confidence(confidence: Floats, right: NDArray[np.bool_]) -> Plot:
    def paint(axes: Axes) -> None:
        edges = np.linspace(0, 1, 21)
        start = float(np.floor(confidence.min() * 20) / 20)
        good, _ = np.histogram(confidence[right], edges)
        bad, _ = np.histogram(confidence[~right], edges)
        middles = edges[:-1] + 0.025
        axes.bar(middles, good, 0.043, color=ACCENT, label="right")
        axes.bar(middles, bad, 0.043, bottom=good, color=WRONG, label="wrong")
        axes.set(xlim=(min(start, 0.9), 1), xlabel="how sure the model said it was", ylabel="rows")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2)

    sentence = "How sure the model was of its answers: mistakes (orange) should be rare where it is sure, on the right."
    return draw("How sure it is", sentence, paint)


def _scatter(truth: Floats, predicted: Floats) -> Plot:
    rows = np.arange(len(truth))
    if len(rows) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_POINTS, replace=False))

    def paint(axes: Axes) -> None:
        both = np.concatenate([truth, predicted])
        ends = (float(both.min()), float(both.max()))
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(truth[rows], predicted[rows], "o", color=ACCENT, markersize=4.6, markeredgewidth=0, alpha=0.5)
        axes.grid()
        axes.set(xlabel="true value", ylabel="predicted value")

    sentence = "Each dot is one row: the closer to the dashed line, the better its prediction."
    if len(rows) < len(truth):
        sentence += f" A random {len(rows):,} of {len(truth):,} rows are shown."
    return draw("Predicted against true", sentence, paint)


def _residuals(residuals: Floats, details: RegressionDetails) -> Plot:
    low, middle, high = (details.residual_quantiles[key] for key in ("0.05", "0.5", "0.95"))

    def paint(axes: Axes) -> None:
        # A few far outliers would squeeze all others into one bar, so that they are counted in the outermost ones.
        left, right = np.quantile(residuals, (0.005, 0.995) if len(residuals) >= 200 else (0, 1))
        if right - left <= 1e-9 * max(abs(left), abs(right)):
            left, right = left - max(1, abs(left)) / 2, right + max(1, abs(right)) / 2
        bins = min(30, max(8, len(residuals) // 5))
        counts, edges = np.histogram(np.clip(residuals, left, right), bins, range=(left, right))
        axes.axvspan(low, high, color=ACCENT, alpha=0.1, linewidth=0)
        axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", color=ACCENT)
        for place, label in {low: "5 %", high: "95 %", middle: "median"}.items():
            axes.axvline(place, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(label, (place, 1), (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="center", color=MUTED, annotation_clip=False)  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y")
        axes.set(xlabel="true value minus predicted value", ylabel="rows")

    sentence = (
        f"How far predictions are off: for 9 rows in 10 the true value lies between {_signed(low)} and {_signed(high)} "
        "of the prediction (the shaded band). A median far from 0 would mean that the model leans to one side."
    )
    return draw("How far it is off", sentence, paint)


def _share_axes(axes: Axes, across: str, up: str) -> None:
    axes.grid()
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel=across, ylabel=up)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _largest_classes(details: ClassificationDetails) -> tuple[list[str], NDArray[np.int_]]:
    """The confusion matrix with the rarer of many classes merged into one."""
    counts = np.array(details.confusion)
    if len(details.classes) <= MOST_CLASSES:
        return list(details.classes), counts
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MOST_CLASSES - 1])
    group = np.full(len(counts), len(kept))
    group[kept] = np.arange(len(kept))
    merged = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int_)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    return [*(details.classes[index] for index in kept), OTHER], merged


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"
