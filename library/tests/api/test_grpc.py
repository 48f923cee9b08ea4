"""The Open Inference Protocol over gRPC: the answers of HTTP, errors as gRPC has them, the same limits and keys."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.api.grpc import port as grpc_port
from ml_microservice.api.grpc.messages import CLASSES, SERVICE
from ml_microservice.api.grpc.server import serving
from ml_microservice.api.traffic import InWork
from ml_microservice.errors import ServiceError
from ml_microservice.features.columns import Columns
from ml_microservice.inference.core import Core
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import ApiSettings, Settings, load_settings
from tests.ports import free_port

Call = Callable[..., Awaitable[Any]]


def talk(served: ServedModel, words: Callable[[Call, InWork], Awaitable[None]], **options: Any) -> None:
    """Serve a model by gRPC while a conversation with it goes on."""

    async def talking() -> None:
        api = ApiSettings(grpc_port=free_port(), **options)
        in_work = InWork(api.max_concurrency)
        async with (
            serving(api, Core(served, api), in_work),
            grpc.aio.insecure_channel(f"127.0.0.1:{api.grpc_port}") as channel,
        ):

            async def call(method: str, request: Any = None, key: str | None = None) -> Any:
                ask = channel.unary_unary(
                    f"/{SERVICE}/{method}",
                    request_serializer=CLASSES[f"{method}Request"].SerializeToString,
                    response_deserializer=CLASSES[f"{method}Response"].FromString,
                )
                metadata = None if key is None else (("x-api-key", key),)
                return await ask(request or CLASSES[f"{method}Request"](), metadata=metadata, timeout=10)

            await words(call, in_work)

    asyncio.run(talking())


async def refusal(answer: Awaitable[Any]) -> tuple[str, str]:
    """Status and words of an error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    return caught.value.code().name, caught.value.details() or ""


def request_of(*tensors: tuple[str, str, list[int], dict[str, Any]], **more: Any) -> Any:
    """An inference request."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "contents": contents}
        for name, datatype, shape, contents in tensors
    ]
    return CLASSES["ModelInferRequest"](**{"model_name": "houses", "inputs": inputs, **more})


AREA = ("floor area", "FP64", [2], {"fp64_contents": [300.0, 50.0]})
LIFT = ("lift", "BOOL", [2, 1], {"bool_contents": [True, False]})
COLOUR = ("colour", "BYTES", [2], {"bytes_contents": [b"red", b"white"]})
VIEW = ("view", "FP32", [2, 2], {"fp32_contents": [0.0, 1.0, 2.0, 3.0]})
ROWS = [
    {"floor area": 300.0, "lift": True, "colour": "red", "view": [0, 1]},
    {"floor area": 50.0, "lift": False, "colour": "white", "view": [2, 3]},
]


def test_answers_are_those_of_http_in_lists_and_in_bytes(served: ServedModel, client: TestClient) -> None:
    expected = client.post("/predict/batch", json=ROWS).json()["predictions"]
    probabilities = [value for row in expected for value in row["probabilities"].values()]

    async def words(call: Call, _: InWork) -> None:
        answer = await call("ModelInfer", request_of(AREA, LIFT, COLOUR, VIEW, id="abc"))
        assert (answer.model_name, answer.model_version, answer.id) == ("houses", served.manifest.version, "abc")
        assert answer.parameters["classes"].string_param == '["no","yes"]'
        outputs = {output.name: output for output in answer.outputs}
        assert list(outputs["predict"].contents.bytes_contents) == [b"yes", b"no"]
        assert list(outputs["probabilities"].shape) == [2, 2]
        assert list(outputs["probabilities"].contents.fp64_contents) == pytest.approx(probabilities, abs=1e-9)
        raw = [np.array([300.0, 50.0]).tobytes(), b"\x01\x00", b"\x03\0\0\0red\x05\0\0\0white"]
        raw.append(np.array([[0, 1], [2, 3]], np.float32).tobytes())
        bare: list[Any] = [(name, kind, shape, {}) for name, kind, shape, _ in (AREA, LIFT, COLOUR, VIEW)]
        wanted = [{"name": "probabilities"}]
        answer = await call("ModelInfer", request_of(*bare, raw_input_contents=raw, outputs=wanted))
        assert [output.name for output in answer.outputs] == ["probabilities"]
        assert np.frombuffer(answer.raw_output_contents[0]) == pytest.approx(probabilities, abs=1e-9)

    talk(served, words)


def test_server_and_model_are_live_ready_and_described(served: ServedModel) -> None:
    async def words(call: Call, _: InWork) -> None:
        assert (await call("ServerLive")).live
        assert (await call("ServerReady")).ready
        assert (await call("ServerMetadata")).name == "houses"
        version = served.manifest.version
        assert (await call("ModelReady", CLASSES["ModelReadyRequest"](name="houses", version=version))).ready
        described = await call("ModelMetadata", CLASSES["ModelMetadataRequest"](name="houses"))
        assert list(described.versions) == [version]
        kinds = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in described.inputs}
        assert (kinds["colour"], kinds["view"]) == (("BYTES", [-1]), ("FP64", [-1, 2]))

    talk(served, words)


TOO_SMALL = ("floor area", "FP64", [2], {"fp64_contents": [300.0, 5.0]})


@pytest.mark.parametrize(
    ("request_", "code", "part"),
    [
        (
            request_of(TOO_SMALL, LIFT),
            "INVALID_ARGUMENT",
            "row 1: The request breaks 1 rule of the model's features: floor",
        ),
        (request_of(AREA), "INVALID_ARGUMENT", "lift is required"),
        (request_of(AREA, LIFT, model_name="other"), "NOT_FOUND", "The model here is houses"),
        (request_of(AREA, LIFT, model_version="1"), "NOT_FOUND", "The version here is"),
        (request_of(AREA, LIFT, outputs=[{"name": "x"}]), "INVALID_ARGUMENT", "there is no output 'x'"),
        (request_of(("lift", "BOOL", [-1], {})), "INVALID_ARGUMENT", "inputs.0.shape.0"),
        (request_of(("lift", "FP16", [1], {})), "INVALID_ARGUMENT", "has no data"),
        (request_of(("lift", "XP16", [1], {})), "INVALID_ARGUMENT", "which is not known"),
        (request_of(("lift", "INT64", [1], {"bool_contents": [True]})), "INVALID_ARGUMENT", "has 0 values"),
        (request_of(("colour", "BYTES", [1], {"bytes_contents": [b"\xff"]})), "INVALID_ARGUMENT", "not UTF-8"),
        (request_of(AREA, LIFT, raw_input_contents=[b""]), "INVALID_ARGUMENT", "there are 2 inputs"),
        (request_of(AREA, LIFT, id="x" * 5_000), "RESOURCE_EXHAUSTED", "larger"),
    ],
)
def test_errors_have_the_status_of_grpc_and_name_feature_and_rule(
    served: ServedModel, request_: Any, code: str, part: str
) -> None:
    async def words(call: Call, _: InWork) -> None:
        status, detail = await refusal(call("ModelInfer", request_))
        assert (status, part in detail) == (code, True), detail

    talk(served, words, max_body_bytes=4_096)


def test_keys_and_limits_are_those_of_http_and_probes_pass_them(served: ServedModel) -> None:
    async def words(call: Call, in_work: InWork) -> None:
        assert (await refusal(call("ModelInfer", request_of(AREA, LIFT))))[0] == "UNAUTHENTICATED"
        assert (await refusal(call("ModelReady", key="wrong")))[0] == "UNAUTHENTICATED"
        assert (await call("ServerReady")).ready
        assert len((await call("ModelInfer", request_of(AREA, LIFT), "key")).outputs) == 3
        with in_work:
            assert (await refusal(call("ModelInfer", request_of(AREA, LIFT), "key")))[0] == "RESOURCE_EXHAUSTED"
            assert (await call("ServerLive")).live
        assert in_work.count == 0

    talk(served, words, keys=("key",), max_concurrency=1)


class Slow:
    """A model that takes its time."""

    def predict(self, columns: Columns) -> Predictions:
        """The same for every row, after a while."""
        time.sleep(0.3)
        return Predictions(["yes"] * len(columns["lift"]), None)


def test_requests_in_work_are_finished_when_the_service_stops_and_no_others_begin(served: ServedModel) -> None:
    async def stopping() -> None:
        api, in_work = ApiSettings(grpc_port=free_port()), InWork(10)
        model = ServedModel(served.manifest, served.schema, Slow(), served.id_name)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{api.grpc_port}") as channel:
            async with serving(api, Core(model, api), in_work):
                ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
                body = request_of(AREA, LIFT).SerializeToString()
                waiting = asyncio.ensure_future(ask(body, timeout=10))
                while not in_work.count:
                    await asyncio.sleep(0.01)
            assert CLASSES["ModelInferResponse"].FromString(await waiting).model_name == "houses"
            assert (await refusal(ask(body, timeout=1)))[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")

    asyncio.run(stopping())


def test_the_port_is_named_where_the_extra_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_port, "is_installed", lambda _extra: False)
    with pytest.raises(ServiceError, match=r"gRPC is not installed.*add 'grpc' to ml-microservice"):
        create_app(load_settings(settings.root, {"SERVICE__API__GRPC_PORT": "9000"}))
