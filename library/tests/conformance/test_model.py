"""Models that cannot be trained or stored, or do not answer alike in every call."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

FITTED = "GaussianNB().fit(X, y)"


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("None", r"train\.py:\d+: train_model returned NoneType, which has no predict \(end it with 'return model'\)"),
        ("GaussianNB().fit(X, y[:5])", r"train\.py:\d+: train_model raised ValueError: Found input variables"),
    ],
)
def test_a_train_model_that_makes_no_model(project: "Project", made: str, sentence: str) -> None:
    project.model("", made)
    check, said = project.first_failure()
    assert check == "train"
    assert re.search("src/model/" + sentence, said), said


def test_a_model_that_looks_at_the_other_rows(project: "Project") -> None:
    project.wrapped(("self.inner.predict_proba(X)", "self.inner.predict_proba(X - X.mean(axis=0))"))
    check, said = project.first_failure()
    assert check == "alone"
    assert re.search(
        r"predict answers the same row '\w+' \(highest.*\) alone, '\w+' \(highest .*\) among 18 \(a row's", said
    ), said


def test_a_model_that_draws_at_random(project: "Project") -> None:
    project.wrapped(("self.inner.predict_proba(X)", "self.inner.predict_proba(X + np.random.rand())"))
    check, said = project.first_failure()
    assert check == "alone"
    assert "the second time it is asked" in said
    assert "switch dropout and sampling off once it is trained" in said


def test_a_model_that_looks_at_the_index(project: "Project") -> None:
    project.transform("return pd.DataFrame(np.column_stack([numbers, colours, words]), index=X.index)")
    project.wrapped(("predict(X)\n", "predict(X if len(X) == 1 or X.index[0] != 0 else X.iloc[::-1])\n"))
    check, said = project.first_failure()
    assert check == "alone"
    assert "as a request" in said


def test_a_regression_that_looks_at_the_other_rows(project: "Project") -> None:
    project.regression("class Model:\n    def predict(self, X):\n        return X[:, 0] - X[:, 0].mean()", "Model()")
    check, said = project.first_failure()
    assert check == "alone"
    assert re.search(r"predict answers the same row 0\.0 alone, -?\d\S* among 18", said), said


LOCAL = "    class Local(GaussianNB): ...\n\n    return Local().fit(X, y)"
OPEN_FILE = f"    model = {FITTED}\n    model.log = open(__file__)\n    return model"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "self.scale =",
            "self.log = lambda x: x\n        self.scale =",
            r"train\.py:8: what Preprocessor made cannot be",
        ),
        (f"    return {FITTED}", LOCAL, r"train\.py:22: what train_model made cannot be stored: .*Local"),
        (
            f"    return {FITTED}",
            OPEN_FILE,
            r"train\.py:22: what train_model made cannot be stored: .*TextIOWrapper",
        ),
    ],
    ids=["lambda", "class", "file"],
)
def test_what_cannot_be_stored(project: "Project", old: str, new: str, sentence: str) -> None:
    project.train((old, new))
    check, said = project.first_failure()
    assert check == "storing"
    assert re.search("src/model/" + sentence, said), said
    assert "(define classes and functions at the top of a module" in said


SHARED = ("NUMBERS =", "STATE = {}\nNUMBERS =")
SHARES = ("self.means =", "STATE['shift'] = 1.0\n        self.means =")


def shifted(by: str) -> tuple[str, str]:
    """Let transform depend on a variable of the module."""
    return "        words =", f"        numbers = numbers + {by}\n        words ="


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [SHARED, SHARES, shifted("STATE.get('shift', 0)")],
            r"predict answers the same row '\w+' .* before and '\w+' .* after it was stored and read back \(keep",
        ),
        (
            [SHARED, SHARES, shifted("STATE['shift']")],
            r"predict, given rows after it was stored and read back, raised KeyError: 'shift'.*\(keep all",
        ),
        (
            [("    def fit", "    def __setstate__(self, state):\n        raise OSError('gone')\n\n    def fit")],
            r"reading back what Preprocessor made raised OSError: gone.*\(keep all",
        ),
    ],
    ids=["global", "global-missing", "raises"],
)
def test_what_is_another_after_it_was_read_back(
    project: "Project", changes: list[tuple[str, str]], sentence: str
) -> None:
    project.train(*changes)
    check, said = project.first_failure()
    assert check == "reading"
    assert re.search(r"src/model/train\.py:\d+: " + sentence, said, re.DOTALL), said
