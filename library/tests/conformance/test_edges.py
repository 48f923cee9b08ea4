"""Requests that are allowed and yet unlike every training row."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

NUMBERS = "((X[NUMBERS] - self.means) / self.scale).fillna(0.0)"
ENCODER = """\
        from sklearn.preprocessing import OneHotEncoder
        self.encoder = OneHotEncoder().fit(X[["note"]])
        return self
"""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "assert X['garden'].notna().any() or len(X) > 1",
            r"a request without the optional 'garden', raised Assertion.*SimpleI",
        ),
        (
            "assert len(X) > 1 or X['garden'].notna().any() and X['colour'].notna().any()",
            r"a request without the optional 'garden', 'colour', raised AssertionError.*remove 'optional: true'",
        ),
        (
            "assert len(X) > 1 or X['garden'].notna().any() or X['colour'].notna().any()",
            r"a request without any of the optional 'garden', 'colour', raised AssertionError",
        ),
        (
            "X['note'].map(lambda text: text.split()[0])",
            r"empty text in 'note', raised IndexError.*\(take care of it in Prepr",
        ),
        (
            "X['note'].map({'quiet': 1, 'near the lake': 2, 'to be renovated': 3}).astype(int)",
            r"words that no training row",
        ),
        (
            "X['note'].map(lambda text: 1 / (len(text) < 50))",
            r"text of max_length characters in 'note', raised ZeroD.*lower",
        ),
        (
            "1 / (X['rooms'].max() - 12)\nX['rooms'].map(lambda n: 1 / (n - 12))",
            r"'rooms' = 12, the most that is allowed, r",
        ),
        (
            "X['floor area'].map(lambda n: 1 / (n - 10))",
            r"'floor area' = 10\.0, the least that is allowed, .*narrow the range",
        ),
        (
            "X[NUMBERS].dropna()\nreturn numbers[X['garden'].notna().to_numpy() | (len(X) > 1)]",
            r"returned 0 rows for 1, given a re",
        ),
    ],
    ids=["missing", "missing-two", "missing-all", "empty", "words", "longest", "most", "least", "drops"],
)
def test_a_request_that_transform_does_not_take(project: "Project", body: str, sentence: str) -> None:
    project.transform(body)
    check, said = project.first_failure()
    assert check == "edges"
    assert re.search(r"src/model/train\.py:\d+: Preprocessor\.transform.*" + sentence, said, re.DOTALL), said
    assert len(re.findall("src/model/train.py:", said)) == 1


def test_a_value_that_features_yaml_allows_but_no_training_row_has(project: "Project") -> None:
    project.features(
        ("type: string, max_length: 50", "type: category, values: [quiet, near the lake, to be renovated, loud]")
    )
    project.train(("        return self\n", ENCODER))
    project.transform("return np.column_stack([numbers, self.encoder.transform(X[['note']]).toarray()])")
    check, said = project.first_failure()
    assert check == "edges"
    assert (
        "given 'note' = 'loud', which a request may carry but no training row has, raised ValueError: Found unknown"
        in said
    )
    assert (
        "(let the encoder take it, as OneHotEncoder(handle_unknown='ignore') does, or remove it from `values`" in said
    )


def test_a_default_that_is_not_taken(project: "Project") -> None:
    project.features(("default: 3", "default: 11"))
    project.transform("X['rooms'].map(lambda n: 1 / (n != 11))")
    check, said = project.first_failure()
    assert check == "edges"
    assert "given a request without 'rooms', which gets its default, raised ZeroDivisionError" in said
    assert "(take care of it in Preprocessor.transform, or choose another default in src/model/features.yaml)" in said


def test_a_gap_that_only_the_model_does_not_take(project: "Project") -> None:
    project.loader(("np.where(rng.random(90) < 0.3, np.nan, rng.uniform(0, 2, 90))", "rng.uniform(0, 2, 90)"))
    project.train((".fillna(0.0)", ""))
    check, said = project.first_failure()
    assert check == "edge_answers"
    assert said.startswith(
        "src/model/train.py:22: predict, given a request without the optional 'garden', raised ValueError"
    )
    assert "(let Preprocessor fill the gap, for example by SimpleImputer, or remove 'optional: true'" in said


def test_the_example_of_the_documentation_that_is_not_taken(project: "Project") -> None:
    project.features(("min: 10, max: 500", "example: 33.25"))
    project.transform("X['floor area'].map(lambda n: 1 / (n != 33.25))")
    check, said = project.first_failure()
    assert check == "edges"
    assert "given the example of the API documentation, raised ZeroDivisionError" in said
