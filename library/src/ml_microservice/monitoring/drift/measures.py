"""Measures of the difference between two distributions, and the noise of these measures.

A measure is an effect size: unlike a test statistic, it does not grow with the number of rows. Its noise is the value
that it exceeds with a given probability between two samples of the same distribution. The fewer rows there are, the
larger the noise.
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
"""Noises that are cached. A quantile takes a millisecond, and the parts of a window share most of them."""


def shares(counts: Counts) -> Floats:
    """Shares of bins. An empty bin counts as half a row, because the logarithm of 0 is undefined."""
    filled = np.maximum(np.asarray(counts, dtype=np.float64), 0.5)
    part: Floats = filled / filled.sum()
    return part


def psi(reference: Counts, window: Counts) -> float:
    """Population stability index: the sum over bins of (q - p) ln(q / p), p and q being the shares."""
    p, q = shares(reference), shares(window)
    return float(((q - p) * np.log(q / p)).sum())


def cramers_v(reference: Counts, window: Counts) -> float:
    """Cramér's V of two distributions of categories, from 0 (equal) to 1 (no category in common).

    It compares shares instead of counts, so that it does not depend on the number of rows of the reference.
    """
    p, q = (np.asarray(counts, dtype=np.float64) / max(1, np.sum(counts)) for counts in (reference, window))
    some = p + q > 0
    return float(sqrt(((p - q)[some] ** 2 / (p + q)[some]).sum() / 2))


def kolmogorov_smirnov(reference: Floats, window: Floats) -> float:
    """The largest distance between two distribution functions, from 0 to 1."""
    return float(stats.ks_2samp(reference, window, method="asymp").statistic)


def wasserstein(reference: Floats, window: Floats, scale: float) -> float:
    """Mean distance by which values must be moved to turn one distribution into the other, in units of `scale`."""
    return float(stats.wasserstein_distance(reference / scale, window / scale))


@lru_cache(NOISES)
def psi_noise(bins: int, n: int, m: int, level: float) -> float:
    """Noise of `psi`, which is distributed as (1/n + 1/m) times a chi-squared with bins - 1 degrees of freedom."""
    return float(stats.chi2.isf(level, bins - 1)) * (1 / n + 1 / m) if bins > 1 else 0.0


@lru_cache(NOISES)
def share_noise(count: int, n: int, m: int, level: float) -> float:
    """Noise of the difference between a share among m rows and a share of `count` among n rows, in either direction.

    With an uninformative prior, the count among the m rows has a beta-binomial distribution.
    """
    low, high = stats.betabinom.ppf((level / 2, 1 - level / 2), m, count + 0.5, n - count + 0.5)
    return float(max(high / m - count / n, count / n - low / m))


@lru_cache(NOISES)
def unseen_noise(rare: int, n: int, m: int, level: float) -> float:
    """Noise of the share of values among m rows that did not occur among n rows.

    For a range, `rare` is 2: the share of a continuous distribution outside the range of n values is Beta(2, n - 1).
    For categories, it is the number of categories seen once, plus one (Good-Turing estimate of unseen categories).
    """
    return float(stats.betabinom.isf(level, m, rare, max(1, n + 1 - rare))) / m


def mean_noise(std: float, n: int, m: int, level: float) -> float:
    """Noise of the difference of two means, in either direction."""
    return float(stats.norm.isf(level / 2)) * std * sqrt(1 / n + 1 / m)
