"""Preprocessors that transform a request differently from the same row in training."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

NUMBERS = "((X[NUMBERS] - self.means) / self.scale)"
FILLED = NUMBERS + ".fillna(0.0).to_numpy(dtype=float)"
LEARN = r"learn it in fit, keep it on self"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("        return self\n", "", r"train\.py:9: Preprocessor\.fit must return self \(end it with 'return self'\)"),
        (
            "return np.column_stack([numbers,",
            "np.column_stack([numbers,",
            r"train\.py:15: .*transform returned nothing \(end",
        ),
        (
            "self.means =",
            "self.rate = (X['sold'] == 'late').mean()\n        self.means =",
            r"train\.py:10: .*fit raised KeyE",
        ),
        ('"garden"]', '"garden", "year"]', r"train\.py:10: Preprocessor\.fit raised KeyError"),
        (
            "return np.column_stack([n",
            "return 1 / 0 + np.column_stack([n",
            r"train\.py:19: .*transform raised ZeroDivisionE",
        ),
    ],
    ids=["self", "nothing", "target", "other-column", "raises"],
)
def test_a_preprocessor_that_does_not_even_fit(project: "Project", old: str, new: str, sentence: str) -> None:
    project.train((old, new))
    check, said = project.first_failure()
    assert check == "fit"
    assert re.search("src/model/" + sentence, said), said


def test_a_preprocessor_that_fails_on_the_held_out_rows(project: "Project") -> None:
    project.train(("        return self\n", "        self.known = set(X['floor area'])\n        return self\n"))
    project.transform("assert X['floor area'].isin(self.known).all(), 'unknown'")
    check, said = project.first_failure()
    assert check == "fit"
    assert "given the rows held out to evaluate on, which fit has not seen, raised AssertionError: unknown" in said


def test_the_target_is_not_among_the_columns_and_the_fault_says_so(project: "Project") -> None:
    project.transform("numbers[:, 0] = X['sold'] == 'late'")
    assert "the target 'sold' is y, in fit" in project.first_failure()[1]


def test_a_column_that_is_no_feature_is_named(project: "Project") -> None:
    project.transform("numbers[:, 0] = X['year']")
    assert (
        "(X holds the features only: add 'year' to src/model/features.yaml, or do without)"
        in project.first_failure()[1]
    )


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "X['ratio'] = X['rooms'] / X['floor area']",
            r"changes the frame .*: it adds 'ratio' \(begin with X = X\.copy\(\)",
        ),
        ("X.loc[X['rooms'] > 5, 'rooms'] = 5", r"changes the frame that it is given \(begin with X = X\.copy\(\)"),
        (
            "order = np.argsort(X['rooms'].to_numpy())\nreturn numbers[order]",
            r"changes the order of the rows \(return the",
        ),
        ("return pd.DataFrame(numbers).sort_values(0)", r"changes the order of the rows"),
    ],
    ids=["adds", "changes", "sorts", "sorts-a-frame"],
)
def test_a_transform_that_meddles_with_the_rows(project: "Project", body: str, sentence: str) -> None:
    project.transform(body)
    check, said = project.first_failure()
    assert check == "rows"
    assert re.search(r"src/model/train\.py:\d+: Preprocessor\.transform.*" + sentence, said), said


def test_a_transform_that_drops_rows(project: "Project") -> None:
    project.transform("return X[NUMBERS].dropna()")
    check, said = project.first_failure()
    assert check == "fit"
    assert re.search(
        r"train\.py:15: Preprocessor\.transform returned \d+ rows for 72 \(drop rows in DataLoader", said
    ), said


def test_a_transform_that_adds_rows_by_joining_on_the_index(project: "Project") -> None:
    project.transform("return pd.concat([X[['rooms']], pd.DataFrame(numbers)], axis=1)")
    assert (
        "(one for each; pandas adds rows where it aligns frames: make them with index=X.index)"
        in project.first_failure()[1]
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [(NUMBERS, "((X[NUMBERS] - X[NUMBERS].mean()) / self.scale)")],
            rf"gives 9 rows another result alone than among 18 rows \(.*{LEARN}",
        ),
        (
            [("        numbers = ", "        self.fit(X)\n        numbers = ")],
            r"gives 9 rows another result alone than among",
        ),
        (
            [("numbers = ", "self.means = 0.9 * self.means + 0.1 * X[NUMBERS].mean()\n        numbers = ")],
            r"each time it is given",
        ),
        (
            [(".to_numpy(dtype=float)\n        colours", ".to_numpy(dtype=float) + np.random.rand()\n        colours")],
            r"each time it is",
        ),
        (
            [(FILLED, "X[NUMBERS].rank().fillna(0).to_numpy()")],
            rf"gives 9 rows another result alone than among.*{LEARN}",
        ),
        ([(FILLED, "X[NUMBERS].ffill().fillna(0).to_numpy()")], r"gives a single row another result alone than among"),
        (
            [("return np.column_stack([numbers, colours, words])", "return pd.get_dummies(X['note'])")],
            r"1 columns for a single row, but 3 for 18",
        ),
        ([(FILLED, FILLED + "\n        self.last = getattr(self, 'last', 0)")], None),
    ],
    ids=["mean", "refit", "drift", "random", "rank", "ffill", "dummies", "harmless"],
)
def test_a_transform_that_learns(project: "Project", changes: list[tuple[str, str]], sentence: str | None) -> None:
    project.train(*changes)
    check, said = project.first_failure()
    assert check == ("stateless" if sentence else "none")
    assert re.search(r"src/model/train\.py:\d+: Preprocessor\.transform .*", said) or not sentence
    assert re.search(sentence or "", said), said


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return np.squeeze(numbers)", r"returned 3 rows for 1, given a single row \(a request is a frame of one row"),
        ("numbers = numbers / (len(X) > 1 or 1 / 0)", r", given a single row, raised ZeroDivisionError"),
        (
            "return pd.DataFrame(numbers).assign(x=X['rooms']).fillna(-1)",
            r"index of the frame is another.*make frames inside",
        ),
    ],
    ids=["squeezes", "one-row", "index"],
)
def test_a_transform_that_works_for_many_rows_only(project: "Project", body: str, sentence: str) -> None:
    project.transform(body)
    check, said = project.first_failure()
    assert check == "stateless"
    assert re.search(r"src/model/train\.py:\d+: Preprocessor\.transform.*" + sentence, said), said


def test_a_transform_that_learns_from_other_rows_only_is_found_out(project: "Project") -> None:
    project.train(("        return self\n", "        self.areas = set(X['floor area'])\n        return self\n"))
    project.transform("self.areas |= set(X['floor area'])\nnumbers = numbers + len(self.areas) / 10")
    check, said = project.first_failure()
    assert check == "stateless"
    assert "another result after it was given others" in said


def test_a_transform_that_numbers_words_as_they_arrive_is_found_out(project: "Project") -> None:
    project.train(
        (
            "        return self\n",
            "        self.codes = {word: n for n, word in enumerate(X['note'].unique())}\n        return self\n",
        )
    )
    project.transform("words = [self.codes.setdefault(word, len(self.codes)) for word in X['note']]")
    check, said = project.first_failure()
    assert check == "stateless"
    assert "gives the same rows another result after it was given others: it goes on learning (learn it in fit" in said


def test_a_transform_that_knows_a_training_row_by_its_index(project: "Project") -> None:
    project.train(("        return self\n", "        self.known = set(X.index)\n        return self\n"))
    project.transform("return np.where(X.index.isin(list(self.known))[:, None], numbers, 0)")
    check, said = project.first_failure()
    assert check == "stateless"
    assert "requests are numbered from 0 (make frames inside of it with index=X.index" in said


def test_a_training_row_that_no_request_can_carry(project: "Project") -> None:
    noted = "frame['note'] = frame['note'].astype(object).replace('quiet', 'quiet \\ud800')"
    project.loader(('        frame["sold"]', f'        {noted}\n        frame["sold"]'))
    check, said = project.first_failure()
    assert check == "frame"
    assert "text with half a character in it (a lone surrogate), which no request can carry" in said
    assert "clean it in DataLoader" in said
