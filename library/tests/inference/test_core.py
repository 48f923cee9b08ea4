"""The core answers bytes with bytes: what is answered, what is refused, and that nothing leaks between rows."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ml_microservice.features.columns import Columns
from ml_microservice.inference.core import Core
from ml_microservice.inference.predictor import Prediction, Predictions, predict_each
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import ApiSettings


def ask(core: Core, row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one row."""
    answer: dict[str, Any] = json.loads(asyncio.run(core.predict(json.dumps(row).encode())))
    return answer


def refusal(core: Core, body: bytes | Mapping[str, Any]) -> Problem:
    """The problem that a row is refused with."""
    with pytest.raises(Problem) as caught:
        asyncio.run(core.predict(body if isinstance(body, bytes) else json.dumps(body).encode()))
    return caught.value


def test_an_answer_names_the_class_the_probabilities_the_model_and_the_entity(
    core: Core, house: dict[str, Any], served: ServedModel
) -> None:
    answer = ask(core, {**house, "house id": 17})
    assert answer["prediction"] == "yes"
    assert list(answer["probabilities"]) == ["no", "yes"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["house id"] == 17
    assert answer["model_version"] == served.manifest.version
    assert answer["model_id"] == served.manifest.id
    assert answer["timestamp"].endswith("+00:00")


def test_the_entity_id_changes_no_prediction_and_is_not_echoed_when_not_sent(core: Core, house: dict[str, Any]) -> None:
    with_id, without = ask(core, {**house, "house id": "h1"}), ask(core, house)
    assert with_id["probabilities"] == without["probabilities"]
    assert "house id" not in without
    assert with_id["prediction_id"] != without["prediction_id"]


def test_what_is_left_out_is_answered_as_null_or_as_its_default(core: Core, house: dict[str, Any]) -> None:
    bare = ask(core, house)
    explicit = ask(core, {**house, "colour": None, "garden[ha]": None, "class": 3, "view": [0, 0]})
    assert bare["probabilities"] == explicit["probabilities"]


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        ({"floor area": "300"}, "type", "floor area must be a number"),
        ({"floor area": True}, "type", "floor area must be a number"),
        ({"floor area": 9}, "min", "floor area must be at least 10 m2"),
        ({"floor area": 901}, "max", "floor area must be at most 900 m2"),
        ({"floor area": None}, "type", "floor area must be a number"),
        ({"floor area": float("nan")}, "type", "floor area must be a finite number"),
        ({"garden[ha]": float("inf")}, "type", "garden[ha] must be a finite number"),
        ({"class": 1.5}, "type", "class must be a whole number"),
        ({"class": None}, "type", "class must be a whole number"),
        ({"lift": 1}, "type", "lift must be true or false"),
        ({"colour": "green"}, "values", "colour must be one of 'red', 'white', 'blue' or null"),
        ({"colour": 5}, "values", "colour must be one of 'red', 'white', 'blue' or null"),
        ({"owner": "x" * 41}, "max_length", "owner must have at most 40 characters"),
        ({"built": "yesterday"}, "type", "built must be a date and time as ISO 8601 text"),
        ({"built": 0}, "type", "built must be a date and time as ISO 8601 text"),
        ({"built": "1899-12-31T00:00:00Z"}, "min", "built must be at least 1900-01-01"),
        ({"view": [1]}, "length", "view must have exactly 2 elements"),
        ({"view": [1, "2"]}, "type", "element 1 of view must be a list of numbers"),
        ({"flor area": 1}, "unknown", "'flor area' is not a feature; did you mean 'floor area'?"),
        ({"sold": "yes"}, "unknown", "'sold' is not a feature"),
        ({"house id": 1.5}, "type", "house id must be text of at most 256 characters or a whole number"),
    ],
)
def test_a_broken_rule_is_named_with_its_feature(
    core: Core, house: dict[str, Any], change: dict[str, Any], rule: str, words: str
) -> None:
    problem = refusal(core, {**house, **change})
    assert problem.status == 422
    assert [error.rule for error in problem.errors] == [rule]
    assert words in problem.errors[0].message


def test_all_broken_rules_are_named_at_once_with_pointers(core: Core) -> None:
    problem = refusal(core, {"garden[ha]": "x", "a/b": 1})
    assert [(e.pointer, e.rule) for e in problem.errors] == [
        ("#/floor area", "required"),
        ("#/garden[ha]", "type"),
        ("#/lift", "required"),
        ("#/a~1b", "unknown"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": 1} x', b'{"owner": "\\ud800"}'])
def test_what_is_not_json_is_refused(core: Core, body: bytes) -> None:
    assert refusal(core, body).kind == "invalid-json"


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
def test_what_is_not_an_object_is_refused(core: Core, body: bytes) -> None:
    assert refusal(core, body).errors[0].message == "a row must be a JSON object of features"


def test_a_batch_is_answered_in_order_and_bad_rows_fail_alone(core: Core, house: dict[str, Any]) -> None:
    rows = [{**house, "house id": 0}, {"lift": 3}, "not a row", {**house, "floor area": 20, "house id": 3}]
    answer = json.loads(asyncio.run(core.predict_batch(json.dumps(rows).encode())))
    assert answer["failed"] == 2
    assert [row.get("house id") for row in answer["predictions"]] == [0, None, None, 3]
    assert [row.get("prediction") for row in answer["predictions"]] == ["yes", None, None, "no"]
    assert answer["predictions"][1]["error"]["errors"][0]["feature"] == "floor area"
    alone = ask(core, rows[3])  # type: ignore[arg-type]
    assert answer["predictions"][3]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-12)


def test_a_batch_is_validated_by_the_very_rules_of_single_rows(core: Core, house: dict[str, Any]) -> None:
    values: list[Any] = ["300", True, 1e400, 10**400, 12, None, [], {}, 50.5, -0.0, 10]
    for value in values:
        row = {**house, "floor area": value}
        batch = json.loads(asyncio.run(core.predict_batch(json.dumps([row]).encode())))["predictions"][0]
        try:
            single: dict[str, Any] = ask(core, row)
        except Problem as problem:
            single = {"error": problem.as_json()}
        assert batch.get("error") == single.get("error"), value
        assert batch.get("probabilities") == single.get("probabilities"), value


def test_an_empty_batch_is_answered_and_one_beyond_the_limit_is_refused(core: Core, house: dict[str, Any]) -> None:
    assert json.loads(asyncio.run(core.predict_batch(b"[]")))["predictions"] == []
    with pytest.raises(Problem) as caught:
        asyncio.run(core.predict_batch(json.dumps([house] * 51).encode()))
    assert (caught.value.status, caught.value.kind) == (413, "too-many-rows")
    with pytest.raises(Problem) as caught:
        asyncio.run(core.predict_batch(json.dumps(house).encode()))
    assert caught.value.kind == "invalid-batch"


class Fragile:
    """A predictor that fails on some values of one feature, and counts its calls."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def predict(self, columns: Columns) -> Predictions:
        """The values themselves, unless one of them is negative."""
        self.calls += 1
        values = list(columns["garden[ha]"])
        if any(value is not None and value < 0 for value in values):
            raise self.error
        return Predictions([str(value) for value in values], None)


def test_rows_that_the_model_fails_on_are_found_and_fail_alone() -> None:
    model = Fragile(RuntimeError("boom"))
    answers = predict_each(model, {"garden[ha]": [float(v) if v not in (7, 40) else -1.0 for v in range(64)]})
    assert [index for index, answer in enumerate(answers) if isinstance(answer, Exception)] == [7, 40]
    good = [answer for answer in answers if isinstance(answer, Prediction)]
    assert [answer.value for answer in good] == [str(float(v)) for v in range(64) if v not in (7, 40)]
    assert model.calls < 30


def test_a_model_that_fails_on_everything_does_not_hold_up_the_service() -> None:
    model = Fragile(RuntimeError("boom"))
    answers = predict_each(model, {"garden[ha]": [-1.0] * 100_000})
    assert len(answers) == 100_000
    assert all(isinstance(answer, RuntimeError) for answer in answers)
    assert model.calls < 1_000


@pytest.mark.parametrize(("error", "status"), [(ValueError("Ada"), 422), (RuntimeError("Ada"), 500)])
def test_what_the_model_raises_is_answered_without_its_words_and_logged_without_personal_data(
    served: ServedModel, house: dict[str, Any], error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ServedModel(served.manifest, served.schema, Fragile(error), served.id_name)
    with caplog.at_level(logging.ERROR):
        problem = refusal(Core(broken, ApiSettings()), {**house, "garden[ha]": -1, "owner": "Ada"})
    assert problem.status == status
    assert "Ada" not in json.dumps(problem.as_json()) + caplog.text
    assert type(error).__name__ in caplog.text


def test_an_observer_that_fails_breaks_no_answer(served: ServedModel, house: dict[str, Any]) -> None:
    seen: list[str | float] = []

    def failing(_model: ServedModel, _values: Sequence[str | float]) -> None:
        raise RuntimeError

    def seeing(_model: ServedModel, values: Sequence[str | float]) -> None:
        seen.extend(values)

    core = Core(served, ApiSettings(), observers=[failing, seeing])
    assert ask(core, house)["prediction"] == "yes"
    assert seen == ["yes"]


def test_requests_that_share_a_call_are_never_mixed_up(core: Core) -> None:
    areas = [float(area) for area in np.linspace(10, 900, 200)]
    alone = {area: ask(core, {"floor area": area, "lift": False})["probabilities"]["yes"] for area in areas}

    async def together() -> list[bytes]:
        bodies = [{"floor area": area, "lift": False, "house id": str(area)} for area in areas]
        return await asyncio.gather(*(core.predict(json.dumps(body).encode()) for body in bodies))

    answers = [json.loads(answer) for answer in asyncio.run(together())]
    assert [answer["house id"] for answer in answers] == [str(area) for area in areas]
    assert [answer["probabilities"]["yes"] for answer in answers] == pytest.approx(list(alone.values()), abs=1e-12)
    assert len({answer["prediction_id"] for answer in answers}) == len(areas)
