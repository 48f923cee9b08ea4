"""`features.yaml` is read with every mistake reported by line, in words that say what to do."""

from pathlib import Path

import pytest

from ml_microservice.errors import ConfigError, Fault
from ml_microservice.features.features_file import complete_features, load_features
from ml_microservice.features.spec import CategoryFeature, FeatureDraft, FloatFeature, VectorFeature

HEADER = "task: regression\ntarget: y\nfeatures:\n"


def load(tmp_path: Path, text: str, id_name: str | None = None) -> FeatureDraft:
    path = tmp_path / "features.yaml"
    path.write_text(text, encoding="utf-8")
    return load_features(path, id_name, name="features.yaml")


def faults(tmp_path: Path, text: str, id_name: str | None = None) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text, id_name)
    return refused.value.faults


def test_a_full_file_is_a_specification(tmp_path: Path) -> None:
    text = """
task: classification
target: species
features:
  - {name: bill length (mm), type: float, min: 20, optional: true, unit: mm, description: Length, example: 44.5}
  - name: island
    type: category
    values: [Biscoe, Dream]
    pii: true
  - {name: embedding, type: vector, length: 2, default: [0, 0.5]}
"""
    spec = complete_features(load(tmp_path, text))
    bill, island, embedding = spec.features
    assert isinstance(bill, FloatFeature)
    assert (bill.min, bill.optional, bill.example, bill.required) == (20.0, True, 44.5, False)
    assert isinstance(island, CategoryFeature)
    assert (island.values, island.pii, island.required) == (("Biscoe", "Dream"), True, True)
    assert isinstance(embedding, VectorFeature)
    assert (embedding.default, embedding.required) == ((0.0, 0.5), False)


def test_a_bare_list_leaves_everything_else_to_the_training_frame(tmp_path: Path) -> None:
    draft = load(tmp_path, "- age\n- bill length (mm)\n")
    assert draft == FeatureDraft(task=None, target=None, features=("age", "bill length (mm)"))
    with pytest.raises(ConfigError, match="ml-service features infer"):
        complete_features(draft)


def test_names_and_typed_features_may_be_mixed(tmp_path: Path) -> None:
    draft = load(tmp_path, HEADER + "  - age\n  - {name: mass, type: float}\n")
    assert draft.names == ["age", "mass"]
    assert draft.complete() is None


def test_norway_is_a_country_and_on_is_a_word(tmp_path: Path) -> None:
    text = HEADER + "  - {name: country, type: category, values: [NO, SE, on, off, yes, n, 'true']}\n"
    (country,) = load(tmp_path, text).features
    assert isinstance(country, CategoryFeature)
    assert country.values == ("NO", "SE", "on", "off", "yes", "n", "true")


@pytest.mark.parametrize(
    ("entry", "line", "words"),
    [
        ("{name: a, type: flaot}", 5, ["'a'", "type must be one of", "'flaot'", "did you mean 'float'?"]),
        ("{name: a, type: [float]}", 5, ["'a'", "type must be one of"]),
        ("{name: a}", 5, ["'a'", "type must be one of"]),
        ("{type: float}", 5, ["feature 2", "name is missing"]),
        ("{name: a, type: float,\n     optinal: true}", 6, ["unknown key 'optinal'", "did you mean 'optional'?"]),
        ("{name: a, type: bool, min: 3}", 5, ["unknown key 'min'"]),
        ("{name: a, type: float, min: low}", 5, ["'a'", "min must be a number"]),
        ("{name: a, type: float, min: 3, max: 1}", 5, ["'a'", "min (3.0) is greater than max (1.0)"]),
        ("{name: a, type: int, max: 1.5}", 5, ["max must be a whole number"]),
        ("{name: a, type: int, max: 9223372036854775808}", 5, ["max must be less than 9223372036854775808"]),
        ("{name: a, type: float, min: 0,\n     default: -1}", 6, ["default must be at least 0"]),
        ("{name: a, type: category}", 5, ["values is missing"]),
        ("{name: a, type: category, values: []}", 5, ["values must have at least 1"]),
        ("{name: a, type: category, values: [x, x]}", 5, ["'x'", "more than once"]),
        ("{name: a, type: category, values: [true, false]}", 5, ["all text or all whole numbers", "quote"]),
        ("{name: a, type: category, values: [1, x]}", 5, ["all text or all whole numbers", "quote"]),
        ("{name: a, type: category, values: [x], example: z}", 5, ["example must be one of 'x'"]),
        ("{name: a, type: string, max_length: 2, example: long}", 5, ["example", "2 characters"]),
        ("{name: a, type: datetime, min: 0001-01-01T00:00:00+14:00}", 5, ["'a'", "UTC"]),
        ("{name: a, type: vector}", 5, ["length is missing"]),
        ("{name: a, type: vector, length: 2, example: [1]}", 5, ["example has 1 elements, length says 2"]),
        ("42", 5, ["entry 2", "neither a name nor a feature"]),
        ("first", 5, ["'first'", "more than once"]),
        ("y", 5, ["target 'y' is among the features"]),
        ("{name: y, type: flaot}", 5, ["target 'y' is among the features"]),
        ("id", 5, ["entity id 'id' is among the features"]),
    ],
)
def test_a_faulty_feature_is_told_with_its_line(tmp_path: Path, entry: str, line: int, words: list[str]) -> None:
    found = faults(tmp_path, f"{HEADER}  - first\n  - {entry}\n", id_name="id")
    told = [str(fault) for fault in found if fault.line == line]
    assert any(all(word in sentence for word in words) for sentence in told), found


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "expected task, target and features"),
        ("task: regression\n", None, "features must be a list"),
        ("task: clasification\nfeatures: [a]\n", 1, "did you mean 'classification'?"),
        ("features: [a]\ntarget: [y, z]\n", 2, "several outputs are not supported"),
        ("features: [a]\ntagret: y\n", 2, "did you mean 'target'?"),
        ("target: y\nfeatures: [a]\ntarget: z\n", 3, "duplicate key"),
        ("features: [a\ntarget: y\n", 2, "check the indentation"),
        ("- a\n- id\n", 2, "entity id 'id' is among the features"),
        ("&all [*all]\n", None, "alias"),
    ],
)
def test_a_faulty_file_is_told_with_its_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    found = faults(tmp_path, text, id_name="id")
    assert any(fault.line == line and words in str(fault) for fault in found), found


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "task: guess\ntarget: y\nfeatures:\n  - {name: a, type: flaot}\n  - {name: b, type: int, mim: 0}\n  - y\n"
    assert [fault.line for fault in faults(tmp_path, text)] == [1, 4, 5, 6]


def test_features_may_share_their_rules_by_a_merge_key(tmp_path: Path) -> None:
    text = HEADER + "  - &length {name: a, type: float, min: 0, unit: mm}\n  - {<<: *length, name: b}\n"
    first, second = load(tmp_path, text).features
    assert isinstance(first, FloatFeature)
    assert second == first.model_copy(update={"name": "b"})


def test_an_id_may_not_be_called_like_a_key_of_the_answer(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "- a\n", id_name="prediction")
    assert fault.file == "config.yaml"


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_features(tmp_path / "features.yaml")
