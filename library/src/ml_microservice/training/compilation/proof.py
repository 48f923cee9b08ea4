"""Proof that a compiled predictor predicts and refuses the same rows as the Python objects.

Preprocessing has to be equal bit for bit, and labels have to be equal. Probabilities and numbers may differ by a
tolerance, because two sums are added in another order than in scikit-learn: BLAS products, whose order depends on the
batch size and on whether the matrix is sparse, and trees, which are summed before the baseline is added. Either changes
the result by about 1e-16 of the largest term.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.compiled import Estimation, Transform, dense
from ml_microservice.inference.predictor import Prediction, Predictor, predict_each
from ml_microservice.training.compilation.probes import Probe, batches

Answers = Sequence[Prediction | Exception]


class Unproved(Exception):
    """A compiled form differs from the Python objects; the message says where."""


@dataclass
class Proof:
    """The comparisons so far."""

    tolerance: float
    rows: int = 0
    difference: float = 0.0
    """The largest difference so far, of a probability or of a number relative to its size."""

    def same_matrix(self, probe: Probe, answers: Answers, reference: Transform, compiled: Transform) -> None:
        """Compare the matrices of preprocessing, bit for bit, on the rows that the Python objects did not refuse.

        Raises:
            Unproved: they differ.
        """
        answered = [at for at, answer in enumerate(answers) if isinstance(answer, Prediction)]
        if not answered:
            return
        part = {name: [values[at] for at in answered] for name, values in probe.columns.items()}
        expected = reference(part)
        if getattr(expected, "dtype", np.float64) in (np.float32, np.float16):
            raise Unproved("preprocessing computes in float32")
        try:
            found = compiled(part)
        except ValueError as error:
            raise Unproved(f"{probe.name}: only the compiled preprocessing refuses: {error}") from error
        _same_bits(dense(expected), found, probe.name)

    def same_answers(self, probe: Probe, reference: Answers, compiled: Predictor) -> None:
        """Compare predictions and refusals.

        Raises:
            Unproved: they differ.
        """
        self.rows += len(reference)
        self._compare(probe.name, reference, predict_each(compiled, probe.columns))

    def same_in_batches(self, probe: Probe, reference: Answers, compiled: Predictor) -> None:
        """Compare predictions and refusals in batches of several sizes.

        Raises:
            Unproved: they differ.
        """
        for start, part in batches(probe.columns):
            answers = predict_each(compiled, part)
            self._compare(f"{probe.name} in batches", reference[start : start + len(answers)], answers)

    def same_estimates(self, matrix: Matrix, reference: Estimation, compiled: Estimation) -> None:
        """Compare the estimators on rows of the matrix.

        Raises:
            Unproved: they differ.
        """
        if not len(matrix):
            return
        self.rows += len(matrix)
        expected, found = reference(matrix), compiled(matrix)
        if expected.probabilities is not None and found.probabilities is not None:
            self._note("thresholds", float(np.abs(expected.probabilities - found.probabilities).max()))
        if expected.values.dtype.kind == "f":
            scale = np.maximum(1.0, np.abs(expected.values))
            self._note("thresholds", float((np.abs(expected.values - found.values) / scale).max()))
        elif (expected.values != found.values).any():
            raise Unproved(f"thresholds: {int((expected.values != found.values).sum())} labels differ")

    def _compare(self, name: str, left: Answers, right: Answers) -> None:
        for expected, found in zip(left, right, strict=True):
            if isinstance(expected, Exception) or isinstance(found, Exception):
                _same_refusal(name, expected, found)
            else:
                self._note(name, _difference(name, expected, found))

    def _note(self, name: str, difference: float) -> None:
        self.difference = max(self.difference, difference)
        if not difference <= self.tolerance:
            raise Unproved(f"{name}: an answer differs by {difference:.2g}")


def _same_bits(expected: Matrix, found: Matrix, name: str) -> None:
    if expected.shape != found.shape:
        raise Unproved(f"{name}: the matrix has shape {found.shape}, not {expected.shape}")
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    if not same.all():
        raise Unproved(f"{name}: column {int(np.argwhere(~same)[0][1])} of the matrix differs")


def _same_refusal(name: str, expected: Prediction | Exception, found: Prediction | Exception) -> None:
    """Compare refusals: both raise, with the same status for the caller, 422 for ValueError and 500 for others."""
    if isinstance(expected, Exception) and isinstance(found, Exception):
        if isinstance(expected, ValueError) == isinstance(found, ValueError):
            return
        raise Unproved(f"{name}: refused with {type(found).__name__}, not {type(expected).__name__}")
    if isinstance(expected, Exception):
        raise Unproved(f"{name}: only the Python objects refuse: {type(expected).__name__}: {expected}")
    raise Unproved(f"{name}: only the compiled form refuses: {found}")


def _difference(name: str, expected: Prediction, found: Prediction) -> float:
    before, now = expected.value, found.value
    if isinstance(before, str) or isinstance(now, str):
        if before != now:
            raise Unproved(f"{name}: a label differs")
    elif before != now:
        return abs(before - now) / max(1.0, abs(before))
    if expected.probabilities is None or found.probabilities is None:
        if expected.probabilities is not found.probabilities:
            raise Unproved(f"{name}: only one of them has probabilities")
        return 0.0
    return float(np.abs(np.subtract(expected.probabilities, found.probabilities)).max())
