"""Predicting files: every format in and out, the same rules as for requests, nothing lost on the way."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import InputFileError
from service.inference.core import Core
from service.inference.files import predict_file

ROWS: list[dict[str, Any]] = [
    {"house id": "h1", "floor area": 300.0, "lift": True, "class": 4, "colour": "red", "owner": "NA", "note": "kept"},
    {"house id": "h2", "floor area": 50.0, "lift": False, "class": 1, "colour": None, "owner": None, "note": ""},
    {"house id": "h3", "floor area": 5000.0, "lift": False, "class": 2, "colour": "pink", "owner": "x", "note": "bad"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as a file of the format that the name tells."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("out", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("into", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("piece", [1, 5000])
def test_every_format_gives_the_answers_that_requests_get(
    core: Core, tmp_path: Path, into: str, out: str, piece: int
) -> None:
    source = write(tmp_path / f"rows.{into}", ROWS)
    result = predict_file(core, source, tmp_path / f"out.{out}", piece=piece)
    rows = read(result.target)
    assert (result.rows, result.failed) == (3, 1)
    assert [row["prediction"] or None for row in rows] == ["yes", "no", None]
    assert [row["note"] for row in rows] == ["kept", "", "bad"]
    assert "floor area must be at most 900 m2" in rows[2]["error"]
    assert "colour must be one of" in rows[2]["error"]
    request = {name: ROWS[0][name] for name in ("floor area", "lift", "class", "colour")}
    answer = json.loads(asyncio.run(core.predict(json.dumps(request).encode())))
    assert float(rows[0]["probability_yes"]) == pytest.approx(answer["probabilities"]["yes"], abs=1e-12)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_csv_text_is_taken_for_what_its_feature_is(core: Core, tmp_path: Path) -> None:
    text = 'floor area,lift,class,garden[ha],built,view\n300,TRUE,4.0,NA,1950-02-03,"[0.5, 1]"\n'
    text += "3e2,0,4,,1950-02-03T00:00,\n"
    source = tmp_path / "rows.csv"
    source.write_text(text, encoding="utf-8-sig")
    result = predict_file(core, source, tmp_path / "out.csv")
    assert (result.rows, result.failed) == (2, 0), read(result.target)


def test_csv_text_that_means_nothing_is_a_row_error(core: Core, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("floor area,lift\nbig,maybe\ninf,true\n")
    predict_file(core, source, tmp_path / "out.csv")
    errors = [row["error"] for row in read(tmp_path / "out.csv")]
    assert "floor area must be a number" in errors[0]
    assert "lift must be true or false" in errors[0]
    assert "floor area must be a finite number" in errors[1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.xlsx", "", "use one of .csv, .parquet"),
        ("gone.csv", None, "there is no such file"),
        ("rows.csv", "flor area,lift\n1,true\n", "has no column 'floor area' (did you mean 'flor area'?)"),
        ("rows.csv", "floor area,lift,prediction\n1,true,x\n", "has a column 'prediction' already"),
        ("rows.csv", "floor area,lift\n1,true,3\n", "rows.csv:2: another number of fields"),
        ("rows.jsonl", '{"lift": true}\n{"lift"\n', "rows.jsonl:2: not JSON"),
        ("rows.jsonl", "[1]\n", "rows.jsonl:1: not a JSON object"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_nothing(
    core: Core, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputFileError) as caught:
        predict_file(core, tmp_path / name, tmp_path / "out.csv")
    assert words in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {name}
