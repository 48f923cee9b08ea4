"""The systems, in the order in which they are started and shown."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.environments import OURS, PLAIN
from benchmarks.systems import (
    ARROW,
    JSON,
    PARQUET,
    Row,
    System,
    instances,
    label_of_list,
    listed,
    mlserver_folder,
    predictions,
    save_mlflow,
    script,
    serve_bentoml,
    serve_mlflow,
    serve_mlserver,
    serve_ours,
    split,
    tensor,
    tensor_labels,
    tensors,
    uvicorn,
)


def of_one(bulk: Callable[[Sequence[Row]], Any]) -> Callable[[Row], Any]:
    """The body of one row, where it is a body of many with one in it."""
    return lambda row: bulk([row])


LIMITS = (
    System(
        "noop", "bare ASGI no-op", "limit", PLAIN, uvicorn("noop"), labels=None, settings="uvicorn, uvloop, httptools"
    ),
    System(
        "noop_validated",
        "... + Pydantic and orjson",
        "limit",
        PLAIN,
        uvicorn("noop_validated"),
        labels=None,
        settings="the same request model, validated from bytes",
    ),
    System(
        "fastapi_empty",
        "empty FastAPI endpoint",
        "limit",
        PLAIN,
        uvicorn("fastapi_empty"),
        labels=None,
        settings="the same request model, as a FastAPI operation",
    ),
)
NAIVE = System(
    "naive",
    "naive",
    "naive",
    PLAIN,
    uvicorn("naive"),
    bulk_path="/predict/batch",
    settings="FastAPI, DataFrame, predict and predict_proba",
)
OUR_SERVICE = System(
    "ours",
    "**ours**",
    "ours",
    OURS,
    serve_ours,
    engine=True,
    bulk_path="/predict/batch",
    bulk_forms=(JSON, ARROW, PARQUET),
    settings="ml-service serve, as config.yaml comes",
)
OUR_VARIANTS = (
    replace(
        OUR_SERVICE,
        name="ours_unrecorded",
        title="ours, no records",
        settings="records.sinks: []",
        extra={"SERVICE__RECORDS__SINKS": ""},
    ),
    replace(
        OUR_SERVICE,
        name="ours_strict",
        title="ours, strict records",
        settings="records.durability: strict",
        extra={"SERVICE__RECORDS__DURABILITY": "strict"},
    ),
)
"""What records cost, and what it costs to wait for the disk."""
MLSERVER = System(
    "mlserver",
    "MLServer",
    "peer",
    "mlserver",
    serve_mlserver,
    path="/v2/models/bench/infer",
    body=tensor,
    labels=tensor_labels,
    prepare=mlserver_folder("mlserver_sklearn.SKLearnModel", batching=False),
    bulk_path="/v2/models/bench/infer",
    bulk_body=tensors,
    settings="scikit-learn runtime (class only), 1 worker (default)",
)
BENTOML = System(
    "bentoml",
    "BentoML",
    "peer",
    "bentoml",
    serve_bentoml,
    body=of_one(listed),
    labels=label_of_list,
    bulk_path="/predict_many",
    bulk_body=listed,
    settings="batchable API, 100 rows a batch, 1 worker",
)
LITSERVE = System(
    "litserve",
    "LitServe",
    "peer",
    "litserve",
    script("litserve_service.py"),
    settings="64 rows a batch, no wait (default), fast_queue, 1 API server, 1 worker",
)
MLFLOW = System(
    "mlflow",
    "MLflow",
    "peer",
    "mlflow",
    serve_mlflow,
    path="/invocations",
    body=of_one(split),
    labels=predictions,
    prepare=save_mlflow(engine=False),
    bulk_path="/invocations",
    bulk_body=split,
    settings="models serve, scikit-learn flavour (class only), 1 worker",
)
KSERVE = System(
    "kserve",
    "KServe",
    "peer",
    "kserve",
    script("kserve_service.py"),
    path="/v1/models/bench:predict",
    body=of_one(instances),
    labels=predictions,
    bulk_path="/v1/models/bench:predict",
    bulk_body=instances,
    settings="Python SDK, V1 protocol, 1 worker, latency log off",
)
RAY = System(
    "ray",
    "Ray Serve",
    "peer",
    "ray",
    script("ray_service.py"),
    bulk_path="/predict",
    settings="1 replica, serve.batch 64 rows, 10 ms, RAY_SERVE_THROUGHPUT_OPTIMIZED",
)


def with_engine(system: System, **changes: Any) -> System:
    """A peer's server with our predictor inside."""
    name, title = f"{system.name}+engine", f"{system.title} + our engine"
    return replace(system, name=name, title=title, kind="engine", engine=True, **changes)


SYSTEMS = (
    *LIMITS,
    NAIVE,
    OUR_SERVICE,
    *OUR_VARIANTS,
    MLSERVER,
    replace(
        MLSERVER,
        name="mlserver_batching",
        title="MLServer, adaptive batching",
        prepare=mlserver_folder("mlserver_sklearn.SKLearnModel", batching=True),
        settings="as above, max_batch_size 64, max_batch_time 5 ms, parallel_workers 0",
    ),
    BENTOML,
    LITSERVE,
    MLFLOW,
    KSERVE,
    RAY,
    with_engine(
        MLSERVER,
        prepare=mlserver_folder("mlserver_engine.EngineModel", batching=True),
        settings="custom runtime, adaptive batching as above",
    ),
    with_engine(BENTOML),
    with_engine(LITSERVE),
    with_engine(MLFLOW, prepare=save_mlflow(engine=True), settings="models serve, Python function, 1 worker"),
    with_engine(KSERVE),
    with_engine(RAY),
)
QUICK = ("noop", "noop_validated", "fastapi_empty", "naive", "ours")
MODELS = ("logistic", "forest", "boosting", "python")


def system(name: str) -> System:
    """A system by its name.

    Raises:
        KeyError: there is none.
    """
    return {entry.name: entry for entry in SYSTEMS}[name]
