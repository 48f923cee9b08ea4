"""Faults of the training frame: what DataLoader returns, held against `features.yaml`."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Project

LAST = "return frame if n_rows is None else frame.head(n_rows)"


def test_a_hook_that_raises_is_shown_with_the_users_own_lines_only(project: "Project") -> None:
    project.loader((LAST, "return self.read(frame)\n\n    def read(self, frame):\n        return frame.loc['x']"))
    check, said = project.first_failure()
    assert check == "load"
    assert said.startswith("src/model/data_loader.py:24: DataLoader.load_data raised KeyError: 'x'")
    assert re.findall(r'File ".*/(.*?)", line (\d+)', said) == [("data_loader.py", "21"), ("data_loader.py", "24")]


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("return frame", r"load_data\(n_rows=10\) returned 90 rows \(hand n_rows on"),
        ("return None", r"load_data returned NoneType, not a pandas\.DataFrame \(return a pandas\.DataFrame\)"),
        ("return frame.head(0)", r"load_data returned a frame without rows \(check the source"),
        ("return pd.concat([frame, frame], axis=1)", r"column 'house id' stands 2 times \(rename or drop one"),
        ("return frame if n_rows is None else None", r"load_data\(n_rows=10\) returned NoneType"),
    ],
    ids=["n_rows", "nothing", "empty", "twice", "nothing-of-few"],
)
def test_a_frame_that_cannot_be_used(project: "Project", last: str, sentence: str) -> None:
    project.loader((LAST, last))
    check, said = project.first_failure()
    assert check == "load"
    assert re.search(r"src/model/data_loader\.py:6: " + sentence, said), said


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: rooms", "name: room", r"features\.yaml:5: feature 'room' is not a column .*\(did you mean 'rooms'\?\)"),
        (
            "type: int, min: 1, max: 12, default: 3",
            "type: bool",
            r"data_loader\.py:6: feature 'rooms' \(bool\): neither",
        ),
        ("max: 500", "max: 300", r"features\.yaml:4: feature 'floor area' \(float\): above max 300.*\(move max if"),
        (
            "[blue, red, white]",
            "[blue, red]",
            r"features\.yaml:7: .*'colour'.*a value that `values` lacks.*'white'; .*add it",
        ),
        ("target: sold", "target: bought", r"features\.yaml:2: target 'bought' is not a column"),
        (
            "garden, type: float, optional: true",
            "garden, type: float",
            r"data_loader\.py:6: .*'garden'.*missing in .*optional",
        ),
        ("classification", "regression", r"features\.yaml:2: target 'sold': not a number.*\(labels need 'task: class"),
    ],
    ids=["column", "type", "range", "values", "target", "missing", "task"],
)
def test_features_yaml_that_contradicts_the_frame(project: "Project", old: str, new: str, sentence: str) -> None:
    project.features((old, new))
    check, said = project.first_failure()
    assert check == "frame"
    assert re.search("src/model/" + sentence, said), said


def test_a_feature_that_repeats_the_target(project: "Project") -> None:
    project.loader((LAST, "frame['outcome'] = frame['sold']\n        " + LAST))
    project.features(
        ("  - {name: note", "  - {name: outcome, type: category, values: [early, late, never]}\n  - {name: note")
    )
    check, said = project.first_failure()
    assert check == "target"
    assert "src/model/features.yaml:8: feature 'outcome' is equal to the target 'sold' in every row (remove it" in said


def test_the_frame_need_not_have_the_entity_id(project: "Project") -> None:
    project.loader(('"house id": [f"h{row}" for row in range(90)],', ""))
    assert project.first_failure() == ("none", "")


def test_too_few_rows_to_hold_any_out(project: "Project") -> None:
    project.config(("id_name", "training: {test_size: 0.01}\nid_name"))
    check, said = project.first_failure()
    assert check == "split"
    assert re.search(
        r"data_loader\.py:6: 90 rows cannot be split.*\(load more rows, or set another training\.test_size", said
    )


def test_a_bare_list_of_names_is_completed_from_the_frame(project: "Project") -> None:
    project.loader(('"year": rng.integers(1900, 2000, 90),', ""), ('frame["sold"]', 'frame["target"]'))
    project.write("src/model/features.yaml", "[floor area, rooms, garden, colour, note]\n")
    assert project.first_failure() == ("none", "")


def test_get_classes_is_missed_once_the_frame_says_that_it_is_needed(project: "Project") -> None:
    project.features(("task: classification\n", "")).train(("def get_classes", "def classes"))
    check, said = project.first_failure()
    assert check == "frame"
    assert said.startswith("src/model/train.py: get_classes is missing")
