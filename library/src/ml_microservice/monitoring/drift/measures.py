"""How far two distributions are apart, and how far they would be by chance alone.

The first half measures; a measure is an effect size, which does not grow with the number of rows as a test's statistic
does. The second half gives the noise of a measure: what it stays below, but for a given probability, between two
samples of one and the same distribution. Only with it can a measure of few rows be read.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ml_microservice.monitoring.values import Floats

Counts = Sequence[int] | NDArray[np.intp]
NOISES = 4096
"""Noises that are remembered: quantiles take long, and the parts of a window share most of them."""


def shares(counts: Counts) -> Floats:
    """Shares of bins, of which an empty one counts as half a row: a logarithm needs more than nothing."""
    filled = np.maximum(np.asarray(counts, dtype=np.float64), 0.5)
    part: Floats = filled / filled.sum()
    return part


def psi(reference: Counts, window: Counts) -> float:
    """Population stability index: the sum over bins of (q - p) ln(q / p), p and q being the shares."""
    p, q = shares(reference), shares(window)
    return float(((q - p) * np.log(q / p)).sum())


def cramers_v(reference: Counts, window: Counts) -> float:
    """Cramér's V of two rows of counts, taken as equally many, from 0 (alike) to 1 (no category in common).

    With counts as they are, the same difference would weigh less the more rows the reference has.
    """
    p, q = (np.asarray(counts, dtype=np.float64) / max(1, np.sum(counts)) for counts in (reference, window))
    some = p + q > 0
    return float(sqrt(((p - q)[some] ** 2 / (p + q)[some]).sum() / 2))


def kolmogorov_smirnov(reference: Floats, window: Floats) -> float:
    """The largest distance of two distribution functions, from 0 to 1."""
    return float(stats.ks_2samp(reference, window, method="asymp").statistic)


def wasserstein(reference: Floats, window: Floats, scale: float) -> float:
    """How far values have to be moved on average to make one distribution the other, in units of `scale`."""
    return float(stats.wasserstein_distance(reference / scale, window / scale))


@lru_cache(NOISES)
def psi_noise(bins: int, n: int, m: int, level: float) -> float:
    """Noise of `psi`: (1/n + 1/m) times a chi-squared of bins - 1 degrees of freedom, whose mean is bins - 1."""
    return float(stats.chi2.isf(level, bins - 1)) * (1 / n + 1 / m) if bins > 1 else 0.0


@lru_cache(NOISES)
def share_noise(count: int, n: int, m: int, level: float) -> float:
    """Noise of the distance of two shares, of which one was `count` of n, either way.

    The count among m further rows is beta-binomial, where nothing was known of the share before.
    """
    low, high = stats.betabinom.ppf((level / 2, 1 - level / 2), m, count + 0.5, n - count + 0.5)
    return float(max(high / m - count / n, count / n - low / m))


@lru_cache(NOISES)
def unseen_noise(rare: int, n: int, m: int, level: float) -> float:
    """Noise of the share of values that n rows did not have.

    For a range, `rare` is 2: what a continuous distribution has outside of n values' range is Beta(2, n - 1). For
    categories it is how many were seen once, and one more, by which Good and Turing estimate what was not seen at all.
    """
    return float(stats.betabinom.isf(level, m, rare, max(1, n + 1 - rare))) / m


def mean_noise(std: float, n: int, m: int, level: float) -> float:
    """Noise of the distance of two means, either way."""
    return float(stats.norm.isf(level / 2)) * std * sqrt(1 / n + 1 / m)
