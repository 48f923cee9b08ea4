"""The outputs of the user's model in one form: class indices or numbers, and a matrix of probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_microservice.artefact.schema import LabelForm
from ml_microservice.errors import Fault, HookError

TRAIN_FILE = "src/model/train.py"


def class_indices(labels: Any, model: Any, classes: Sequence[str], form: LabelForm) -> NDArray[np.intp]:
    """Positions in `classes` of labels that are given in one form.

    Raises:
        HookError: a label is none of the classes.
    """
    flat = _labels(labels, form)
    positions = _positions(model, classes, form)
    try:
        return np.asarray([positions[label] for label in flat], dtype=np.intp)
    except KeyError as unknown:
        message = f"the label {unknown} is not among the classes {list(classes)}"
        advice = "get_classes must name every class, in the order of predict_proba's columns"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice)) from None


def target_form(target: Any, model: Any, classes: Sequence[str]) -> LabelForm:
    """The form in which the training frame names the classes; its own words win over the model's."""
    return _first_fitting(target, model, classes, ("names", "classes_", "positions"))


def predicted_form(labels: Any, probabilities: Any | None, model: Any, classes: Sequence[str]) -> LabelForm:
    """The form in which `predict` names the classes, found from its predictions for the training rows.

    Where labels can be read in two ways, such as the number 1 among the classes 1, 2 and 3, the reading wins that goes
    with the largest probability.
    """
    forms: tuple[LabelForm, ...] = ("classes_", "names", "positions")
    if probabilities is None:
        return _first_fitting(labels, model, classes, forms)
    largest = np.asarray(probabilities).argmax(axis=1)
    agreement = {form: _agreement(labels, largest, model, classes, form) for form in forms}
    return max(forms, key=lambda form: agreement[form])


def _agreement(labels: Any, largest: NDArray[Any], model: Any, classes: Sequence[str], form: LabelForm) -> float:
    try:
        return float((class_indices(labels, model, classes, form) == largest).mean())
    except HookError:
        return -1.0


def _first_fitting(labels: Any, model: Any, classes: Sequence[str], forms: Sequence[LabelForm]) -> LabelForm:
    for form in forms:
        if set(_labels(labels, form)) <= _positions(model, classes, form).keys():
            return form
    return forms[0]


def _labels(labels: Any, form: LabelForm) -> list[Any]:
    flat: list[Any] = one_column(labels, "predict").tolist()
    return [str(label) for label in flat] if form == "names" else flat


def _positions(model: Any, classes: Sequence[str], form: LabelForm) -> dict[Any, int]:
    known = list(classes) if form == "names" else list(range(len(classes)))
    if form == "classes_":
        known = np.asarray(getattr(model, "classes_", [])).tolist()
    return {label: index for index, label in enumerate(known)} if len(known) == len(classes) else {}


def numbers(values: Any, rows: int) -> NDArray[np.float64]:
    """A regression model's predictions, shape (rows,).

    Raises:
        HookError: several outputs, another number of rows, no numbers, or not finite ones.
    """
    try:
        flat = one_column(values, "predict").astype(np.float64)
    except (TypeError, ValueError):
        message, advice = "predict returned something that is not a number", "or is this 'task: classification'?"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice)) from None
    check_rows(flat, rows, "predict")
    if not np.isfinite(flat).all():
        message, advice = "predict returned NaN or infinity", "look for missing values in what transform returns"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice))
    return flat


def probability_matrix(values: Any, rows: int, classes: int) -> NDArray[np.float64]:
    """A classifier's probabilities, shape (rows, classes).

    Raises:
        HookError: another shape, or values that are no probabilities.
    """
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        message, advice = "predict_proba returned something that is no matrix of numbers", "return one row for each row"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice)) from None
    if matrix.shape != (rows, classes):
        message = f"predict_proba returned shape {matrix.shape} for {rows} rows and {classes} classes"
        advice = "get_classes must return one name for each column of predict_proba"
        if classes == 2 and matrix.shape in ((rows,), (rows, 1)):
            advice = "return a column for each of the two classes: np.column_stack([1 - p, p])"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice))
    if np.isnan(matrix).any():
        message, advice = "predict_proba returned NaN", "look for missing values in what transform returns"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice))
    if not (matrix >= -1e-9).all() or not (matrix <= 1 + 1e-9).all():
        message = "predict_proba returned values that are not between 0 and 1"
        raise HookError(Fault(message, file=TRAIN_FILE, advice="return probabilities, not scores"))
    return matrix


def one_column(values: Any, what: str) -> NDArray[Any]:
    """Values as a flat array; a single column is flattened.

    Raises:
        HookError: there are several columns.
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0:
        raise HookError(_single_value(what))
    if array.ndim != 1:
        message = f"{what} has shape {array.shape}: several outputs are not supported"
        raise HookError(Fault(message, file=TRAIN_FILE, advice="train one service per output"))
    return array


def check_rows(values: Any, rows: int, what: str) -> None:
    """See that a hook returned as many rows as it was given.

    Raises:
        HookError: it did not.
    """
    if values is None:
        raise HookError(Fault(f"{what} returned nothing", file=TRAIN_FILE, advice="end it with 'return' and the rows"))
    shape = getattr(values, "shape", None)
    if shape == () or isinstance(values, str) or not (shape or hasattr(values, "__len__")):
        raise HookError(_single_value(what))
    count = row_count(values)
    if count != rows:
        message = f"{what} returned {count} rows for {rows}"
        advice = "drop rows in DataLoader, never in a hook that serves"
        if count > rows:
            advice = "one for each; pandas adds rows where it aligns frames: make them with index=X.index"
        raise HookError(Fault(message, file=TRAIN_FILE, advice=advice))


def row_count(values: Any) -> int:
    """Number of rows of a matrix, dense or sparse, a frame or a list."""
    shape = getattr(values, "shape", None)
    return int(shape[0]) if shape else len(values)


def _single_value(what: str) -> Fault:
    advice = "return a list or an array of them, of length 1 for one row too: do not squeeze it"
    return Fault(f"{what} returned a single value instead of one for each row", file=TRAIN_FILE, advice=advice)
