"""The hot route and FastAPI's route of the same models accept, refuse and answer alike."""

import asyncio
import json
import random
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from ml_microservice.api.app import create_api, create_app
from ml_microservice.api.hot_route import HotRoute
from ml_microservice.features.columns import Columns
from ml_microservice.features.examples import example_rows
from ml_microservice.inference.micro_batcher import MicroBatcher
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.problems import Problem
from ml_microservice.inference.row_answers import RowAnswerer, RowRequest
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.settings import Settings, load_settings
from tests.generating import many

OWN = ("prediction_id", "timestamp")
"""What differs between any two answers."""

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def pair(settings: Settings) -> tuple[TestClient, TestClient]:
    """The service with the hot route, and without."""
    limited = load_settings(settings.root, {"SERVICE__API__MAX_BODY_BYTES": "2048"})
    hot, plain = create_app(limited), create_api(limited)
    return TestClient(hot, raise_server_exceptions=False), TestClient(plain, raise_server_exceptions=False)


def outcome(client: TestClient, body: bytes, headers: dict[str, str], path: str = "/predict") -> tuple[int, str, Any]:
    """Status, content type and document of an answer, without what no two answers share."""
    response = client.post(path, content=body, headers=headers)
    document = response.json()
    document["outputs"] = [item for item in document.get("outputs", ()) if item["name"] not in OWN]
    return response.status_code, response.headers["content-type"], {k: v for k, v in document.items() if k not in OWN}


JSON = {"content-type": "application/json"}
INFER = "/v2/models/houses/infer"
LENGTH = "inference-header-content-length"


@many(300)
@given(
    seed=st.integers(0, 10_000), changes=st.dictionaries(st.integers(0, 9), junk, max_size=3), cut=st.integers(0, 40)
)
def test_both_routes_answer_alike_whatever_is_sent(
    pair: tuple[TestClient, TestClient], served: ServedModel, seed: int, changes: dict[int, Any], cut: int
) -> None:
    names = [*served.schema.spec.names, "house id", "unknown"]
    row = next(example_rows(served.schema.spec, 1, random.Random(seed), missing=0.2))
    row |= {names[index]: value for index, value in changes.items()}
    body = json.dumps(row).encode()
    body = body[:-cut] if cut < 3 and cut else body
    assert outcome(pair[0], body, JSON) == outcome(pair[1], body, JSON)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", JSON),
        (b"{}", {}),
        (b"{}", {"content-type": "text/plain"}),
        (b"{}", {"content-type": "Application/JSON; charset=utf-8"}),
        (b" " * 2049, JSON),
        (b" " * 2048, JSON),
        (b'{"floor area": 300, "lift": true}', {**JSON, "origin": "https://example.com"}),
        (b'{"floor area": 300, "floor area": 20, "lift": true}', JSON),
        ('{"owner": "é\u2028"}'.encode(), JSON),
    ],
)
def test_both_routes_treat_headers_and_odd_bodies_alike(
    pair: tuple[TestClient, TestClient], body: bytes, headers: dict[str, str]
) -> None:
    assert outcome(pair[0], body, headers) == outcome(pair[1], body, headers)


@many(300)
@given(
    seed=st.integers(0, 10_000),
    count=st.sampled_from([1, 1, 1, 0, 3]),
    changes=st.dictionaries(st.integers(0, 9), junk, max_size=2),
    more=st.dictionaries(st.sampled_from(["id", "parameters", "outputs", "x"]), junk, max_size=1),
    length=st.sampled_from([None] * 8 + ["5", "9999", "x"]),
)
def test_both_routes_infer_alike_whatever_is_sent(
    pair: tuple[TestClient, TestClient],
    served: ServedModel,
    seed: int,
    count: int,
    changes: dict[int, Any],
    more: dict[str, Any],
    length: str | None,
) -> None:
    names = [*served.schema.spec.names, "house id", "unknown"]
    rows = list(example_rows(served.schema.spec, count, random.Random(seed), missing=0.2))
    columns = {name: [row.get(name) for row in rows] for name in served.schema.spec.names}
    columns |= {names[index]: [value] * count for index, value in changes.items()}
    shapes = {"view": [count, 2]}
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": shapes.get(name, [count]), "data": data}
        for name, data in columns.items()
    ]
    body = json.dumps({"inputs": inputs, **more}, default=str).encode()
    headers = JSON if length is None else {**JSON, LENGTH: length}
    assert outcome(pair[0], body, headers, INFER) == outcome(pair[1], body, headers, INFER)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{}", {"content-type": "text/plain"}),
        (b'{"inputs": []}', JSON),
        (b'{"inputs": [], "inputs": 1}', JSON),
        (b'{"inputs": [{"name": "lift", "shape": [1.0], "datatype": "BOOL", "data": [true]}]}', JSON),
        (b'{"inputs": [{"name": "lift", "shape": [true], "datatype": "BOOL", "data": [true]}]}', JSON),
        (
            b'{"inputs": [{"name": "lift", "shape": [1], "datatype": "BOOL", "data": [true]}]}',
            {"origin": "https://a.b"},
        ),
        (b'{"inputs": [{"name": "lift", "shape": [1], "datatype": "BOOL", "data": [' + b"[" * 300 + b"]" * 300, JSON),
        (b"[]" * 1500, JSON),
    ],
)
def test_both_routes_treat_odd_inference_requests_alike(
    pair: tuple[TestClient, TestClient], body: bytes, headers: dict[str, str]
) -> None:
    assert outcome(pair[0], body, headers, INFER) == outcome(pair[1], body, headers, INFER)


def test_a_single_inference_request_is_answered_ahead_of_fastapi(pair: tuple[TestClient, TestClient]) -> None:
    body = {"inputs": [{"name": "lift", "shape": [1], "datatype": "BOOL", "data": [True]}]}
    body["inputs"].append({"name": "floor area", "shape": [1, 1], "datatype": "FP64", "data": [[300.0]]})
    hot = cast(HotRoute, pair[0].app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot, "app", None)
        answer = pair[0].post(INFER, json=body)
    assert [item["name"] for item in answer.json()["outputs"]] == ["predict", "probabilities", "prediction_id"]


def test_requests_beyond_those_that_may_be_in_work_are_refused_by_both_routes(settings: Settings) -> None:
    app = cast(HotRoute, create_app(load_settings(settings.root, {"SERVICE__API__MAX_CONCURRENCY": "1"})))
    with app._in_work:
        for path in ("/predict", INFER, "/predict/batch", "/model"):
            assert TestClient(app).post(path, json={}).status_code == 429
        assert TestClient(app).get("/health/live").status_code == 200
    assert TestClient(app).post("/predict", json={}).status_code == 422


class Recording:
    """A predictor that remembers how many rows each call had."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, columns: Columns) -> Predictions:
        """No model at all."""
        self.calls.append(len(columns["lift"]))
        return Predictions(["yes"] * self.calls[-1], None)


@pytest.fixture
def recorded(served: ServedModel) -> ServedModel:
    """A served model that records its calls."""
    copy = ServedModel(served.manifest, served.schema, Recording(), served.id_name)
    copy.is_fast = True
    return copy


def a_row(served: ServedModel) -> RowRequest:
    """A valid row."""
    return RowRequest(served.row(b'{"floor area": 300, "lift": true}'), "predict", 0.0)


def batcher_of(served: ServedModel, max_waiting: int = 100, timeout: float = 5) -> MicroBatcher:
    """A batcher of a model, whose answers are not recorded."""
    answerer = RowAnswerer(served, None, Stamps(), lambda served, values: None)
    return MicroBatcher(answerer, max_waiting, timeout)


def calls(served: ServedModel) -> list[int]:
    """How many rows each call had."""
    assert isinstance(served.predictor, Recording)
    return served.predictor.calls


def present() -> bool:
    """A caller that waits."""
    return False


@pytest.mark.parametrize("is_fast", [True, False])
def test_rows_that_are_ready_together_share_a_call_and_a_lone_row_never_waits(
    recorded: ServedModel, is_fast: bool
) -> None:
    recorded.is_fast = is_fast
    batcher = batcher_of(recorded)

    async def work() -> None:
        await batcher.submit(a_row(recorded), present)
        await asyncio.gather(*(batcher.submit(a_row(recorded), present) for _ in range(30)))

    asyncio.run(work())
    assert calls(recorded) == [1, 30]


def test_rows_of_callers_that_are_gone_or_have_waited_too_long_are_not_computed(recorded: ServedModel) -> None:
    async def work() -> list[Any]:
        late = batcher_of(recorded, timeout=-1)
        batcher = batcher_of(recorded)
        waiting = [late.submit(a_row(recorded), present), batcher.submit(a_row(recorded), lambda: True)]
        return list(await asyncio.gather(*waiting, batcher.submit(a_row(recorded), present)))

    answers = asyncio.run(work())
    assert [answer.status for answer in answers if isinstance(answer, Problem)] == [503, 499]
    assert sum(calls(recorded)) == 1


def test_a_queue_that_is_full_refuses_with_429(recorded: ServedModel) -> None:
    async def work() -> None:
        batcher = batcher_of(recorded, max_waiting=2)
        for _ in range(2):
            batcher.submit(a_row(recorded), present)
        with pytest.raises(Problem) as caught:
            batcher.submit(a_row(recorded), present)
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "1"})

    asyncio.run(work())
