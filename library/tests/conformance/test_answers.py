"""Models whose answers cannot be served: no classes, no numbers, or classes under wrong names."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

CLASSES = "return [str(label) for label in model.classes_]"


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (
            "return list(model.classes_)[::-1]",
            r"returns \['never', 'late', 'early'\], but predict_proba's columns are \['early'",
        ),
        ("return [1, 2, 3]", r"must return a list of text, not \[1, 2, 3\] \(for example: return \[str\(name\)"),
        (
            "return ['early', 'late', 'late']",
            r"must return at least two distinct names.*\(return one name for each column",
        ),
        (
            "return ['early', 'late']",
            r"returns \['early', 'late'\], but the model has 3 classes: .*\(return one name for each",
        ),
        ("return model.labels", r"raised AttributeError"),
        ("return model.classes_", r"must return a list of text, not array\("),
    ],
    ids=["order", "numbers", "twice", "count", "raises", "array"],
)
def test_get_classes_that_does_not_name_the_classes(project: "Project", classes: str, sentence: str) -> None:
    project.train((CLASSES, classes))
    check, said = project.first_failure()
    assert check == "answers"
    assert re.search(r"src/model/train\.py:2[67]: get_classes " + sentence, said), said


@pytest.mark.parametrize(
    ("changes", "classes", "sentence"),
    [
        (
            [],
            "return model.names[:2]",
            r"predict_proba returned shape \(72, 3\) for 72 rows and 2 classes \(get_classes must",
        ),
        (
            [],
            "return ['Early', 'Late', 'Never']",
            r"the label .* is not among the classes \['Early', 'Late', 'Never'\]",
        ),
        (
            [("proba(X)\n", "proba(X)[:, 0]\n")],
            "return model.names",
            r"predict_proba returned shape \(72,\) for 72 rows",
        ),
        (
            [("proba(X)\n", "proba(X) * 0.9\n")],
            "return model.names",
            r"rows that add up to 0\.9 instead of 1, 18 of 18 \(divide",
        ),
        (
            [("proba(X)\n", "proba(X) * np.nan\n")],
            "return model.names",
            r"predict_proba returned NaN \(look for missing",
        ),
        (
            [("proba(X)\n", "proba(X) * 3 - 1\n")],
            "return model.names",
            r"not between 0 and 1 \(return probabilities, not scores\)",
        ),
        ([("self.inner.predict_proba(X)\n", "None\n")], "return model.names", r"predict_proba returned shape \(\)"),
        ([("self.inner.predict(X)", "None")], "return model.names", r"predict returned nothing"),
        (
            [("self.inner.predict(X)", "self.inner.predict(X)[0]")],
            "return model.names",
            r"predict returned a single value inst",
        ),
        (
            [("self.inner.predict(X)", "self.inner.predict(X)[1:]")],
            "return model.names",
            r"predict returned 71 rows for 72",
        ),
        (
            [("self.inner.predict(X)", "self.outer.predict(X)")],
            "return model.names",
            r"predict raised AttributeError: 'Wrapped'",
        ),
    ],
    ids=["count", "names", "column", "sum", "nan", "scores", "no-proba", "nothing", "single", "rows", "raises"],
)
def test_answers_that_cannot_be_served(
    project: "Project", changes: list[tuple[str, str]], classes: str, sentence: str
) -> None:
    project.wrapped(*changes, classes=classes)
    check, said = project.first_failure()
    assert check == "answers"
    assert re.search(r"src/model/train\.py:\d+: .*" + sentence, said), said


REVERSED = "return model.names[::-1]"
CODED = (
    "self.inner = GaussianNB().fit(X, y)\n        self.names = self.inner.classes_.tolist()",
    "self.names = sorted(set(y))\n        self.inner = GaussianNB().fit(X, [self.names.index(name) for name in y])",
)


@pytest.mark.parametrize(
    ("changes", "witness"),
    [
        ([], "that predict calls"),
        ([CODED], "of"),
        ([CODED, ("def predict(", "classes_ = [0, 1, 2]\n\n    def predict(")], "of"),
        ([CODED, ("def predict_proba", "def no_proba")], "of"),
    ],
    ids=["names", "codes", "encoded-classes_", "codes-without-probabilities"],
)
def test_get_classes_in_another_order_than_a_model_without_named_classes(
    project: "Project", changes: list[tuple[str, str]], witness: str
) -> None:
    project.wrapped(*changes, classes=REVERSED)
    check, said = project.first_failure()
    assert check == "naming"
    assert re.search(
        r"train\.py:\d+: get_classes returns \['never', 'late', 'early'\], which is not the order", said
    ), said
    assert f"the one that it calls 'never' is high on rows {witness} 'early'" in said
    assert "(return the names as the model numbers them: with a LabelEncoder, list(encoder.classes_))" in said


def test_get_classes_in_another_order_where_the_classes_are_numbers(project: "Project") -> None:
    project.loader(('["early", "late"], "never")', "[10, 30], 20)"))
    project.wrapped(classes="return [str(name) for name in model.names][::-1]")
    check, said = project.first_failure()
    assert check == "naming"
    assert "get_classes returns ['30', '20', '10'], which is not the order of the columns" in said


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "[[1, 2]] * len(X)",
            r"predict has shape \(18, 2\): several outputs are not supported \(train one service per",
        ),
        ("['many'] * len(X)", r"predict returned something that is not a number \(or is this 'task: classification'"),
        ("[np.nan] * len(X)", r"predict returned NaN or infinity \(look for missing values"),
        ("1.0", r"predict returned a single value instead of one for each row"),
        ("[1.0]", r"predict returned 1 rows for 18"),
    ],
    ids=["outputs", "text", "nan", "single", "rows"],
)
def test_a_regression_that_answers_no_numbers(project: "Project", code: str, sentence: str) -> None:
    project.regression(f"class Model:\n    def predict(self, X):\n        return {code}", "Model()")
    check, said = project.first_failure()
    assert check == "answers"
    assert re.search(r"src/model/train\.py:\d+: " + sentence, said), said
