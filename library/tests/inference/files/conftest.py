"""The model of the houses where files find it, and houses in files of every format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.inference.files.executors import ExecutorConfig
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.settings import Settings

HOUSES: list[dict[str, Any]] = [
    {"house id": "h1", "floor area": 300.0, "lift": True, "class": 4, "colour": "red", "owner": "NA", "note": "kept"},
    {"house id": "h2", "floor area": 50.0, "lift": False, "class": 1, "colour": None, "owner": None, "note": ""},
    {"house id": "h3", "floor area": 5000.0, "lift": False, "class": 2, "colour": "pink", "owner": "x", "note": "bad"},
]

ONE_PROCESS = ExecutorConfig(workers=1)


@pytest.fixture(scope="session")
def model(settings: Settings) -> ModelPlace:
    """Where a process finds the trained model."""
    folder = ArtefactStore(settings.model_directory).path("current")
    return ModelPlace(folder, settings.name, settings.id_name)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a file of the format that the name tells; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows))
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".arrow":
            pyarrow.feather.write_feather(table, path)
        case ".csv":
            pyarrow.csv.write_csv(table, path)
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a file."""
    path = Path(path)
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".arrow":
        return list(pyarrow.feather.read_table(path).to_pylist())
    return list(pyarrow.csv.read_csv(path).to_pylist())


def houses(count: int, start: int = 0) -> pa.Table:
    """Many houses, each like no other; one in 1,000 breaks a rule."""
    numbers = np.arange(start, start + count)
    texts = pa.array(numbers).cast(pa.string())
    colours = pa.array(["red", "white", "blue", None])
    notes = pc.binary_join_element_wise("text, with a comma ", texts, "")
    return pa.table(
        {
            "house id": pc.binary_join_element_wise("h", texts, ""),
            "floor area": np.where(numbers % 1000, 20.0 + numbers % 797 + numbers % 13 / 7, -1.0),
            "class": numbers % 10,
            "lift": numbers % 3 == 0,
            "colour": colours.take(pa.array(numbers % 4)),
            "note": pc.if_else(pa.array(numbers % 7 == 0), notes, "plain"),
        }
    )
