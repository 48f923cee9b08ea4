"""What is measured: how each system is started, asked and understood, one entry for each."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.environments import SERVERS, VENVS, run

Kind = Literal["limit", "naive", "ours", "peer", "engine"]
Row = dict[str, Any]
JSON, ARROW, PARQUET = "application/json", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
NUMBER = {"age", "income", "loan_amount", "balance", "debt_ratio", "utilisation", "months_as_customer", "late_payments"}


@dataclass(frozen=True)
class Launch:
    """Where one system is started with one model."""

    port: int
    folder: Path
    """For the files that the system wants; empty at first."""
    project: Path
    """The baked project, with the model trained in it."""
    pipeline: Path
    hooks: Path
    environment: str

    @property
    def bin(self) -> Path:
        """The programs of the system's environment."""
        return VENVS / self.environment / "bin"

    def variables(self, *, engine: bool) -> dict[str, str]:
        """What the servers read from their environment. One core, so one thread, for everybody."""
        sources = self.project / "src" if engine else self.hooks
        return {
            "BENCH_PORT": str(self.port),
            "BENCH_PIPELINE": str(self.pipeline),
            "BENCH_PROJECT": str(self.project),
            "BENCH_ENGINE": str(int(engine)),
            "PYTHONPATH": os.pathsep.join([str(SERVERS), str(sources)]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HOME": str(self.folder),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        }


def single(row: Row) -> Any:
    """The row itself."""
    return row


def whole(rows: Sequence[Row]) -> Any:
    """The list itself."""
    return list(rows)


def one_label(answer: Any) -> list[str]:
    """The class in an answer of ours, or of a service that answers alike."""
    return [str(answer["prediction"])]


def label_of_list(answer: Any) -> list[str]:
    """The classes in a list of answers."""
    return [str(entry["prediction"]) for entry in answer]


@dataclass(frozen=True)
class System:
    """One row of the tables."""

    name: str
    title: str
    kind: Kind
    environment: str
    command: Callable[[Launch], list[str]]
    path: str = "/predict"
    body: Callable[[Row], Any] = single
    labels: Callable[[Any], list[str]] | None = one_label
    """The classes in an answer; None where there is no model behind it."""
    prepare: Callable[[Launch], None] | None = None
    engine: bool = False
    bulk_path: str | None = None
    bulk_body: Callable[[Sequence[Row]], Any] = whole
    bulk_forms: tuple[str, ...] = (JSON,)
    settings: str = ""
    """What was set, for the table's notes."""
    extra: dict[str, str] = field(default_factory=dict)
    """More variables."""


def uvicorn(module: str) -> Callable[[Launch], list[str]]:
    """A plain ASGI application under uvicorn's fastest parts."""

    def command(launch: Launch) -> list[str]:
        options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        return [str(launch.bin / "uvicorn"), f"{module}:app", "--port", str(launch.port), *options]

    return command


def script(name: str) -> Callable[[Launch], list[str]]:
    """A server that is started from Python."""
    return lambda launch: [str(launch.bin / "python"), str(SERVERS / name)]


def serve_ours(launch: Launch) -> list[str]:
    """`ml-service serve` in the baked project, as the command that an installation makes runs it."""
    command = "from ml_microservice.cli import main; main()"
    return [str(launch.bin / "python"), "-c", command, "serve", "--port", str(launch.port)]


def serve_bentoml(launch: Launch) -> list[str]:
    """`bentoml serve` of the service's class."""
    return [str(launch.bin / "bentoml"), "serve", "bentoml_service:Bench", "--port", str(launch.port)]


def serve_mlserver(launch: Launch) -> list[str]:
    """`mlserver start` on the prepared folder."""
    return [str(launch.bin / "mlserver"), "start", str(launch.folder)]


def serve_mlflow(launch: Launch) -> list[str]:
    """`mlflow models serve`, one worker, in the environment that is there."""
    options = ["--env-manager", "local", "--workers", "1", "--host", "127.0.0.1"]
    return [str(launch.bin / "mlflow"), "models", "serve", "-m", "model", "-p", str(launch.port), *options]


def save_mlflow(engine: bool) -> Callable[[Launch], None]:
    """Store the model in MLflow's format."""

    def prepare(launch: Launch) -> None:
        command = [str(launch.bin / "python"), str(SERVERS / "mlflow_save.py"), "model"]
        run(command, cwd=launch.folder, env=launch.variables(engine=engine))

    return prepare


def mlserver_folder(implementation: str, *, batching: bool) -> Callable[[Launch], None]:
    """Write MLServer's two settings files; where it batches, without the worker process, which was faster here."""

    def prepare(launch: Launch) -> None:
        ports = {"http_port": launch.port, "grpc_port": launch.port + 1, "metrics_port": launch.port + 2}
        server = {"host": "127.0.0.1", "debug": False, "parallel_workers": int(not batching), **ports}
        batch = {"max_batch_size": 64, "max_batch_time": 0.005} if batching else {}
        model = {"name": "bench", "implementation": implementation, "parameters": {"uri": str(launch.pipeline)}}
        (launch.folder / "settings.json").write_text(json.dumps(server))
        (launch.folder / "model-settings.json").write_text(json.dumps({**model, **batch}))

    return prepare


def tensors(rows: Sequence[Row]) -> Any:
    """Rows in the Open Inference Protocol: a tensor for each column, together a frame."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "FP64" if name in NUMBER else "BYTES",
            "parameters": {"content_type": "np" if name in NUMBER else "str"},
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def tensor(row: Row) -> Any:
    """A row in the Open Inference Protocol."""
    return tensors([row])


def tensor_labels(answer: Any) -> list[str]:
    """The classes in an answer of the Open Inference Protocol."""
    return [str(value) for value in answer["outputs"][0]["data"]]


def split(rows: Sequence[Row]) -> Any:
    """Rows as MLflow recommends: a frame, split into columns and data."""
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def instances(rows: Sequence[Row]) -> Any:
    """Rows in KServe's V1 protocol."""
    return {"instances": list(rows)}


def listed(rows: Sequence[Row]) -> Any:
    """Rows as BentoML's argument."""
    return {"rows": list(rows)}


def predictions(answer: Any) -> list[str]:
    """The classes under `predictions`: bare, or in answers."""
    return [str(value["prediction"] if isinstance(value, dict) else value) for value in answer["predictions"]]
