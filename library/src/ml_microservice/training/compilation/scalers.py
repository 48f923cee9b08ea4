"""Compilers of scikit-learn's transformers of numbers, which become steps with the same order of operations."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, combinations, combinations_with_replacement
from typing import Any, Literal

import numpy as np
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from ml_microservice.inference.engine.steps import Apply, Arithmetic, Clip, Fill, Missing, Polynomial, Step, Take
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.compilation.values import Computed, Raw, Value, forked, lowered, side_by_side


def _operation(name: Literal["add", "subtract", "multiply", "divide"], operand: Any) -> Arithmetic:
    return Arithmetic(name, np.asarray(operand, dtype=np.float64))


def _scaled(value: Computed, steps: list[Step]) -> Computed:
    """Add arithmetic steps, after which finite numbers may have overflowed."""
    return value.then(*steps, content="anything") if steps else value


def _standard(scaler: StandardScaler, value: Value, name: str) -> Value:
    matrix = lowered(value, name).checked(nan=True)
    if matrix.sparse:
        return _sparse_scaled(matrix, scaler.scale_)
    steps: list[Step] = [_operation("subtract", scaler.mean_)] if scaler.with_mean else []
    return _scaled(matrix, [*steps, *([_operation("divide", scaler.scale_)] if scaler.with_std else [])])


def _sparse_scaled(matrix: Computed, scale: Any) -> Computed:
    """Multiply by the reciprocal, as scikit-learn does with a sparse matrix; a division would round differently."""
    return matrix if scale is None else _scaled(matrix, [_operation("multiply", 1.0 / scale)])


def _min_max(scaler: MinMaxScaler, value: Value, name: str) -> Value:
    matrix = _dense(lowered(value, name), name).checked(nan=True)
    steps: list[Step] = [_operation("multiply", scaler.scale_), _operation("add", scaler.min_)]
    return _scaled(matrix, [*steps, *([Clip(*map(float, scaler.feature_range))] if scaler.clip else [])])


def _robust(scaler: RobustScaler, value: Value, name: str) -> Value:
    matrix = lowered(value, name).checked(nan=True)
    if matrix.sparse:
        return _sparse_scaled(matrix, scaler.scale_)
    steps: list[Step] = [_operation("subtract", scaler.center_)] if scaler.with_centering else []
    return _scaled(matrix, [*steps, *([_operation("divide", scaler.scale_)] if scaler.with_scaling else [])])


def _max_abs(scaler: MaxAbsScaler, value: Value, name: str) -> Value:
    matrix = lowered(value, name).checked(nan=True)
    clip: list[Step] = [Clip(-1.0, 1.0)] if getattr(scaler, "clip", False) else []
    if matrix.sparse:
        return _scaled(_sparse_scaled(matrix, scaler.scale_), clip)
    return _scaled(matrix, [_operation("divide", scaler.scale_), *clip])


def _imputer(imputer: SimpleImputer, value: Value, name: str) -> Value:
    for_none = imputer.missing_values is None
    if not for_none and not _is_nan(imputer.missing_values):
        raise Refusal(f"{name} fills {imputer.missing_values!r}, not missing values")
    fills = list(imputer.statistics_)
    kept = [at for at, fill in enumerate(fills) if imputer.keep_empty_features or not _is_nan(fill)]
    if isinstance(value, Raw):
        as_numbers = imputer.strategy in ("mean", "median")
        columns = [
            replace(column, fill=_plain(fills[at]))
            if (column.none and not as_numbers) == for_none and not _is_nan(fills[at])
            else column
            for at, column in enumerate(value.columns)
        ]
        filled: Value = Raw(tuple(columns)).take(kept)
    else:
        matrix = _dense(value, name).checked(nan=True)
        source = matrix if len(kept) == len(fills) else _taken(matrix, kept)
        filled = lowered(source, name).then(_fill([fills[at] for at in kept]), content="finite")
    if imputer.indicator_ is None:
        return filled
    marks = _indicator(imputer.indicator_, value, name)
    joined = [lowered(filled, name), marks]
    if isinstance(value, Raw):
        return side_by_side(joined, sparse=False)
    return forked(_dense(value, name).checked(nan=True), joined, sparse=False)


def _fill(values: list[Any]) -> Step:
    return Fill(np.array(values, dtype=np.float64))


def _indicator(indicator: MissingIndicator, value: Value, name: str) -> Computed:
    if not _is_nan(indicator.missing_values):
        raise Refusal(f"{name} marks {indicator.missing_values!r}, not missing values")
    matrix = _dense(lowered(value, name), name).checked(nan=True)
    columns = np.asarray(indicator.features_, dtype=np.intp)
    return matrix.then(Missing(columns), width=len(columns), content="finite")


def _polynomial(features: PolynomialFeatures, value: Value, name: str) -> Value:
    matrix = lowered(value, name).checked(nan=False)
    low, high = features._min_degree, features._max_degree
    if high > 2:
        # scikit-learn multiplies three factors in another order if the matrix is sparse.
        matrix = _dense(matrix, name)
    choose = combinations if features.interaction_only else combinations_with_replacement
    inputs, start = matrix.width, int(features.include_bias)
    place: dict[tuple[int, ...], int] = {(column,): start + column for column in range(inputs)}
    left, right, stages = [], [], []
    for degree in range(2, high + 1):
        for product in choose(range(inputs), degree):
            # scikit-learn multiplies the product of the later factors by the first one.
            left.append(place[product[1:]])
            right.append(product[0])
            place[product] = start + inputs + len(left) - 1
        stages.append(len(left))
    wanted: Iterator[tuple[int, ...]] = chain.from_iterable(
        choose(range(inputs), degree) for degree in range(max(low, 1), high + 1)
    )
    keep = [*range(start), *(place[product] for product in wanted)]
    whole = [np.asarray(part, dtype=np.intp) for part in (left, right, keep)]
    step = Polynomial(features.include_bias, whole[0], whole[1], tuple(stages), whole[2])
    return matrix.then(step, width=len(keep), content="anything")


def _function(transformer: FunctionTransformer, value: Value, name: str) -> Value:
    if transformer.kw_args:
        raise Refusal(f"{name} calls its function with kw_args")
    if transformer.func is None:
        return lowered(value, name).checked(nan=False) if transformer.validate else value
    function = transformer.func
    if not isinstance(function, np.ufunc) or function.nin != 1 or function.nout != 1:
        called = getattr(function, "__qualname__", repr(function))
        raise Refusal(f"{name} calls {called}; only numpy functions such as np.log1p can be compiled")
    matrix = _dense(lowered(value, name), name)
    matrix = matrix.checked(nan=False) if transformer.validate else matrix
    return matrix.then(Apply(function.__name__), content="anything")


def _selection(selector: Any, value: Value, name: str) -> Value:
    kept = np.flatnonzero(selector.get_support()).tolist()
    allows_nan = bool(selector.__sklearn_tags__().input_tags.allow_nan)
    return _taken(lowered(value, name).checked(nan=allows_nan), kept)


def _taken(matrix: Computed, columns: list[int]) -> Computed:
    return matrix.then(Take(np.array(columns, dtype=np.intp)), width=len(columns))


def _dense(matrix: Computed, name: str) -> Computed:
    if matrix.sparse:
        raise Refusal(f"{name} gets a sparse matrix: set sparse_output=False or sparse_threshold=0 before it")
    return matrix


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


_SELECTORS = (
    GenericUnivariateSelect,
    RFE,
    RFECV,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
SCALERS: dict[type, Callable[[Any, Value, str], Value]] = {
    StandardScaler: _standard,
    MinMaxScaler: _min_max,
    RobustScaler: _robust,
    MaxAbsScaler: _max_abs,
    SimpleImputer: _imputer,
    MissingIndicator: _indicator,
    PolynomialFeatures: _polynomial,
    FunctionTransformer: _function,
    **dict.fromkeys(_SELECTORS, _selection),
}
