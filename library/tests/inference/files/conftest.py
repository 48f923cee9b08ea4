"""The model of the houses where files find it, and houses in files of every format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.settings import Settings

HOUSES: list[dict[str, Any]] = [
    {"house id": "h1", "floor area": 300.0, "lift": True, "class": 4, "colour": "red", "owner": "NA", "note": "kept"},
    {"house id": "h2", "floor area": 50.0, "lift": False, "class": 1, "colour": None, "owner": None, "note": ""},
    {"house id": "h3", "floor area": 5000.0, "lift": False, "class": 2, "colour": "pink", "owner": "x", "note": "bad"},
]


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
    numbers = range(start, start + count)
    return pa.table(
        {
            "house id": [f"h{number}" for number in numbers],
            "floor area": [20.0 + number % 797 + number % 13 / 7 if number % 1000 else -1.0 for number in numbers],
            "class": [number % 10 for number in numbers],
            "lift": [number % 3 == 0 for number in numbers],
            "colour": [("red", "white", "blue", None)[number % 4] for number in numbers],
            "note": [f"text, with a comma {number}" if number % 7 == 0 else "plain" for number in numbers],
        }
    )
