"""Programs against scikit-learn, on rows that hypothesis makes up."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.training.compilation.preprocessing import compile_preprocessing
from tests.generating import many

SPEC = FeatureSpec.model_validate(
    {
        "task": "regression",
        "target": "y",
        "features": [
            {"name": "a", "type": "float", "optional": True},
            {"name": "b", "type": "float", "optional": True},
            {"name": "c", "type": "string", "optional": True},
        ],
    }
)
FRAME = pd.DataFrame({"a": [0.1, 2.5, None, -3.0], "b": [1e-3, 7.0, 7.5, None], "c": ["x", "y", None, "x"]})
LAYOUT = FrameLayout.of(FRAME, SPEC)
NUMBERS = make_pipeline(SimpleImputer(), StandardScaler())
BINS = make_pipeline(SimpleImputer(strategy="median"), KBinsDiscretizer(2, quantile_method="linear"))
CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
COLUMNS = ColumnTransformer(
    [
        ("numbers", NUMBERS, ["a", "b"]),
        ("robust", RobustScaler(), ["b"]),
        ("bins", BINS, ["a"]),
        ("words", OneHotEncoder(handle_unknown="ignore"), ["c"]),
        ("codes", CODES, ["c"]),
    ]
).fit(LAYOUT.from_frame(FRAME))
PROGRAM = compile_preprocessing(COLUMNS, LAYOUT, SPEC)

number = st.none() | st.floats(allow_nan=False, allow_infinity=False)
word = st.none() | st.sampled_from(["x", "y", "", "x ", "nan"]) | st.text(max_size=3)


@many(60)
@given(st.lists(st.tuples(number, number, word), min_size=1, max_size=9))
def test_a_program_gives_the_same_bits_or_refuses_as_well(rows: list[tuple[Any, Any, Any]]) -> None:
    columns = {name: list(values) for name, values in zip("abc", zip(*rows, strict=True), strict=True)}
    try:
        expected = COLUMNS.transform(LAYOUT.from_columns(columns))
    except ValueError:
        expected = None
    try:
        found = PROGRAM(columns)
    except ValueError:
        found = None
    assert (expected is None) == (found is None)
    if expected is not None and found is not None:
        dense = expected.toarray() if hasattr(expected, "toarray") else expected
        np.testing.assert_array_equal(found, dense)


def test_arrays_are_looked_up_as_lists_are() -> None:
    spec = {"task": "regression", "target": "y", "features": [{"name": "k", "type": "category", "values": [1, 2]}]}
    spec["features"][0]["optional"] = True  # type: ignore[index]
    frame = pd.DataFrame({"k": [1.0, 2.0, None, 1.0]})
    features = FeatureSpec.model_validate(spec)
    layout = FrameLayout.of(frame, features)
    for encoder in (OneHotEncoder(handle_unknown="ignore"), CODES):
        program = compile_preprocessing(ColumnTransformer([("k", encoder, ["k"])]).fit(frame), layout, features)
        for rows in ([1, None, 2], [None]):
            array = np.array(rows, dtype=np.float64)
            assert np.array_equal(program({"k": rows}), program({"k": array}), equal_nan=True)
