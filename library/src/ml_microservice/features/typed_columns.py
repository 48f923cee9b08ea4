"""Validation of whole columns of JSON values or numbers, by the rules that the request model has for one value.

Like `arrow_columns`, for columns that did not come as a table, and without Arrow. It only tells that a rule is broken:
the request model finds the row, and the words for it. A hypothesis test proves that both accept and refuse alike.
"""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FailFast, TypeAdapter

from ml_microservice.features.columns import Column, outside
from ml_microservice.features.request import STRICT, jsonable, request_type
from ml_microservice.features.spec import Feature, FloatFeature, IntFeature, VectorFeature


class ColumnRule:
    """The rules of a feature, for a column of its values."""

    def __init__(self, feature: Feature) -> None:
        value: Any = request_type(feature)
        self._feature = feature
        self._list: TypeAdapter[list[Any]] = TypeAdapter(Annotated[list[value], FailFast()], config=STRICT)
        self._default: Any = jsonable(feature.default) if feature.has_default else None

    def check(self, values: Column) -> Column:
        """The values as a predictor takes them.

        Args:
            values: a list of JSON values, None where one is missing, or an array that is right for the feature:
                float64 (NaN is missing), int64, bool, and float64 of shape (n, length) for vectors.

        Raises:
            ValueError: one of them breaks a rule.
        """
        if isinstance(values, np.ndarray):
            return self._checked_array(values)
        if None in values:
            if self._feature.required:
                raise ValueError(self._feature.name)
            if self._feature.has_default:
                values = [self._default if value is None else value for value in values]
        return self._list.validate_python(values)

    def absent(self, rows: int) -> Column:
        """The column of a feature that was left out.

        Raises:
            ValueError: it is required.
        """
        return self.check([None] * rows)

    def _checked_array(self, values: NDArray[Any]) -> NDArray[Any]:
        feature = self._feature
        match feature:
            case FloatFeature():
                gaps = np.isnan(values)
                if gaps.any() and feature.has_default:
                    values = np.where(gaps, self._default, values)
                bad = (
                    (gaps if feature.required else False) | np.isinf(values) | outside(values, feature.min, feature.max)
                )
            case IntFeature():
                bad = outside(values, feature.min, feature.max)
            case VectorFeature():
                wrong_length = values.shape[1] != feature.length
                bad = wrong_length | ~np.isfinite(values) | outside(values, feature.min, feature.max)
            case _:
                return values
        if np.any(bad):
            raise ValueError(feature.name)
        return values
