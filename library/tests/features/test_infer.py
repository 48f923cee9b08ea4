"""What `features.yaml` leaves open is taken from the training frame."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_microservice.errors import ConfigError, FrameError
from ml_microservice.features.features_file import check_features
from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.infer import infer_features, write_features
from ml_microservice.features.spec import FeatureDraft, FeatureSpec, FloatFeature
from ml_microservice.yaml_file import parse_yaml

N = 40


def infer(column: Any, **draft: Any) -> dict[str, Any]:
    """What is inferred of a column `x`, beyond its name."""
    frame = pd.DataFrame({"x": column, "y": np.linspace(0.5, 9.5, len(column))})
    spec = infer_features(FeatureDraft(task=None, target="y", features=("x",)), frame, None)
    check_frame(frame, spec, None)
    return spec.features[0].model_dump(exclude_defaults=True, exclude={"name"})


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([3.5, 1.0, 2.5] * N), {"type": "float", "example": 2.5}),
        (pd.Series([3.0, np.nan, 1.0, 2.0] * N), {"type": "float", "example": 2.0, "optional": True}),
        (pd.Series([Decimal("1.5"), Decimal(2)] * N), {"type": "float", "example": 1.5}),
        (pd.Series([2**70, 1] * N, dtype=object), {"type": "float", "example": 1.0}),
        (pd.Series([3, 1, 2] * N), {"type": "int", "example": 2}),
        (pd.Series([3, 1, None] * N, dtype="Int64"), {"type": "int", "example": 1, "optional": True}),
        (pd.Series([3, 1, None] * N, dtype=object), {"type": "int", "example": 1, "optional": True}),
        (pd.Series([True, False, True] * N), {"type": "bool", "example": True}),
        (pd.Series([False, False, None] * N, dtype=object), {"type": "bool", "example": False, "optional": True}),
        (pd.Series(["b", "a", "b"] * N), {"type": "category", "values": ("a", "b"), "example": "b"}),
        (
            pd.Series(["b", "a", None] * N, dtype="string"),
            {"type": "category", "values": ("a", "b"), "example": "b", "optional": True},
        ),
        (
            pd.Series(pd.Categorical(["lo", "hi"] * N, categories=["lo", "mid", "hi"])),
            {"type": "category", "values": ("lo", "mid", "hi"), "example": "lo"},
        ),
        (pd.Series([2, 1, 2] * N, dtype="category"), {"type": "category", "values": (1, 2), "example": 2}),
        (pd.Series([0.5, 1.5] * N, dtype="category"), {"type": "float", "example": 0.5}),
        (pd.Series(["yes", "no", "once"] + ["yes"] * N), {"type": "string", "example": "yes"}),
        (pd.Series([f"{i:0{i + 1}}" for i in range(5)]), {"type": "string", "example": "002"}),
        (pd.Series(["x" * 12_000, "y"]), {"type": "string", "max_length": 20_000, "example": "y"}),
        (
            pd.Series(pd.date_range("2024-05-01", periods=3)),
            {"type": "datetime", "example": datetime(2024, 5, 2, tzinfo=UTC)},
        ),
        (pd.Series([[1, 2], [3, 4], [5, 6]]), {"type": "vector", "length": 2, "example": (3.0, 4.0)}),
        (pd.Series([np.zeros(100), None]), {"type": "vector", "length": 100, "optional": True}),
    ],
)
def test_a_bare_name_gets_its_type_from_its_column(column: Any, expected: dict) -> None:
    assert infer(column) == expected


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([1, "a"] * N, "int, str"),
        ([[1, 2], [3]] * N, "of lengths 1, 2"),
        ([{"a": 1}] * N, "dict"),
        (pd.to_timedelta([1, 2] * N, unit="s"), "Timedelta"),
        ([None] * N, "no row has a value"),
    ],
)
def test_a_column_of_no_type_is_refused(column: Any, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        infer(column)


def a_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": range(N), "a": np.arange(N) / 7, "b": ["u", "v"] * (N // 2), "species": ["p", "q"] * (N // 2)}
    )


def test_the_one_column_that_is_not_listed_is_the_target() -> None:
    spec = infer_features(FeatureDraft(None, None, ("b", "a")), a_frame(), "id")
    assert (spec.task, spec.target, spec.names) == ("classification", "species", ["b", "a"])


def test_without_a_list_every_column_but_target_and_id_is_a_feature() -> None:
    assert infer_features(FeatureDraft(None, "species", ()), a_frame(), "id").names == ["a", "b"]
    assert infer_features(None, a_frame().rename(columns={"a": "target"}), "id").names == ["b", "species"]


@pytest.mark.parametrize(
    "draft", [None, FeatureDraft(None, None, ("a",)), FeatureDraft(None, None, ("a", "b", "species"))]
)
def test_a_target_that_nothing_tells_is_asked_for(draft: FeatureDraft | None) -> None:
    with pytest.raises(ConfigError, match=r"src/model/features\.yaml: .*add 'target: NAME'"):
        infer_features(draft, a_frame(), "id")


def test_what_the_draft_says_is_kept() -> None:
    typed = FloatFeature(name="a", type="float", min=0, max=100)
    spec = infer_features(FeatureDraft("regression", "species", (typed, "b")), a_frame(), "id")
    assert spec.task == "regression"
    assert spec.features[0] is typed


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (["p", "q"] * N, "classification"),
        ([True, False] * N, "classification"),
        ([0, 1, 2, 3] * N, "classification"),
        ([0.0, 1.0] * N, "classification"),
        (pd.Series([0.5, 1.5] * N, dtype="category"), "classification"),
        (list(range(N)), "regression"),
        (list(range(21)) * N, "regression"),
        ([0.5, 1.5] * N, "regression"),
    ],
)
def test_the_task_follows_from_the_target(target: Any, task: str) -> None:
    frame = pd.DataFrame({"x": 1.0, "y": target})
    assert infer_features(FeatureDraft(None, "y", ("x",)), frame, None).task == task


def test_every_missing_or_typeless_column_is_told_at_once() -> None:
    with pytest.raises(FrameError) as refused:
        infer_features(FeatureDraft(None, "specie", ("A", "b")), a_frame(), "id")
    assert [fault.advice for fault in refused.value.faults] == [
        "let DataLoader return it, or correct the name; the frame has id, a, b, species",
        "did you mean 'species'?",
    ]
    with pytest.raises(FrameError) as refused:
        infer_features(FeatureDraft(None, "y", ()), pd.DataFrame({"x": [None], "z": [{}], "y": [1.0]}), None)
    assert len(refused.value.faults) == 2


def test_columns_without_a_usable_name_are_told() -> None:
    with pytest.raises(FrameError, match="column 0 cannot be the name"):
        infer_features(None, pd.DataFrame([[1.0, 2.0]]), None)


def test_the_written_file_is_a_readable_draft() -> None:
    draft = """
task: classification
target: species
features:
  - {name: flipper length (mm), type: float, optional: true, unit: mm, example: 197}
  - {name: sex, type: category, values: [male, "no"], description: "As told: by blood"}
  - {name: income, type: int, min: 0, example: 4711, pii: true}
"""
    spec = check_features(parse_yaml(draft, "features.yaml"), None).complete()
    assert isinstance(spec, FeatureSpec)
    frame = pd.DataFrame({"flipper length (mm)": [172.0, 231.5, np.nan], "sex": "male", "income": [815, 4711, 1]})
    text = write_features(spec, frame)
    assert text.startswith("# What the model predicts")
    assert (
        text[text.index("task:") :]
        == """\
task: classification
target: species

features:
  - name: "flipper length (mm)"
    type: float  # seen: 172 to 231.5
    optional: true
    unit: mm
    example: 197.0

  - name: sex
    type: category
    values: [male, "no"]
    description: "As told: by blood"

  - name: income
    type: int
    min: 0
    pii: true
"""
    )


def test_an_inferred_file_reads_back_as_what_was_inferred() -> None:
    frame = a_frame().assign(
        when=pd.Timestamp("2024-05-01"), vector=pd.Series([[0.25, 1e-9]] * N), text=[f"é {i}: #{i}" for i in range(N)]
    )
    spec = infer_features(FeatureDraft(None, "species", ()), frame, "id")
    read = check_features(parse_yaml(write_features(spec, frame), "features.yaml"), "id")
    assert read.complete() == spec
