"""Predicting files: every format in and out, the same rules as for requests, nothing lost on the way."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_microservice.features.spec import (
    BoolFeature,
    CategoryFeature,
    DatetimeFeature,
    Feature,
    FloatFeature,
    IntFeature,
    StringFeature,
    VectorFeature,
)
from ml_microservice.features.text_columns import from_texts
from ml_microservice.features.text_values import MISSING_WORDS, from_text, whole
from ml_microservice.inference.core import Core
from ml_microservice.inference.files import part_reader
from ml_microservice.inference.files.parts import PartSize
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.inference.files.run import predict_files
from tests.inference.files.conftest import HOUSES, ONE_PROCESS, houses, read, write

FORMATS = ["csv", "parquet", "jsonl", "arrow"]


@pytest.mark.parametrize("out", FORMATS)
@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("slice_rows", [1, 5000])
def test_every_format_gives_the_answers_that_requests_get(
    model: ModelPlace, core: Core, tmp_path: Path, into: str, out: str, slice_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_reader, "SLICE_ROWS", slice_rows)
    source = write(tmp_path / f"rows.{into}", HOUSES)
    result = predict_files(model, [source], str(tmp_path / f"out.{out}"))
    rows = read(result.target)
    assert (result.rows, result.bad) == (3, 1)
    assert [row["prediction"] or None for row in rows] == ["yes", "no", None]
    assert [row["note"] or "" for row in rows] == ["kept", "", "bad"]
    assert "floor area must be at most 900 m2" in rows[2]["error"]
    assert "colour must be one of" in rows[2]["error"]
    request = {name: HOUSES[0][name] for name in ("floor area", "lift", "class", "colour")}
    answer = json.loads(asyncio.run(core.predict(json.dumps(request).encode())))
    assert rows[0]["probability_yes"] == pytest.approx(answer["probabilities"]["yes"], abs=1e-12)
    assert {path.name for path in tmp_path.iterdir()} == {f"rows.{into}", f"out.{out}", "out.bad_rows.csv"}


def test_the_side_file_names_file_row_feature_and_rule_of_every_bad_row(model: ModelPlace, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", HOUSES)
    result = predict_files(model, [source], str(tmp_path / "out.csv"))
    with open(result.bad_rows or "") as file:
        reasons = [tuple(row.values())[:4] for row in csv.DictReader(file)]
    assert reasons == [(source, "3", "colour", "values"), (source, "3", "floor area", "max")]
    predict_files(model, [write(tmp_path / "rows.csv", HOUSES[:2])], str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.bad_rows.csv").exists()


def test_csv_text_is_taken_for_what_its_feature_is(model: ModelPlace, tmp_path: Path) -> None:
    text = 'floor area,lift,class,garden[ha],built,view\n300,TRUE,4.0,NA,1950-02-03,"[0.5, 1]"\n'
    text += "3e2,0,4,,1950-02-03T00:00,\n+300, true ,4e0,1_0,1950-02-03T00:00:00+01:00,\n"
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8-sig")
    result = predict_files(model, [str(tmp_path / "rows.csv")], str(tmp_path / "out.parquet"))
    rows = read(result.target)
    assert (result.rows, result.bad) == (3, 0), rows
    assert [row["class"] for row in rows[:2]] == [4, 4]


def test_csv_text_that_means_nothing_is_a_bad_row(model: ModelPlace, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("floor area,lift\nbig,maybe\ninf,true\n100,true\n")
    result = predict_files(model, [str(tmp_path / "rows.csv")], str(tmp_path / "out.csv"))
    rows = read(result.target)
    assert "floor area must be a number" in rows[0]["error"]
    assert "lift must be true or false" in rows[0]["error"]
    assert "floor area must be a finite number" in rows[1]["error"]
    assert [row["floor area"] for row in rows] == ["big", "inf", "100"]
    assert rows[2]["prediction"] in ("yes", "no")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", 'floor area,lift,note\n300,true,"two\nlines"\n300,true,3,4\n1\n50,false,x\n'),
        ("rows.jsonl", '{"floor area": 300, "lift": true}\n\n{"lift"\n[1]\n{"floor area": 50, "lift": false}\n'),
    ],
)
def test_what_is_no_row_is_only_in_the_side_file_and_rows_keep_their_numbers(
    model: ModelPlace, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    result = predict_files(model, [str(tmp_path / name)], str(tmp_path / "out.jsonl"))
    assert (result.rows, result.bad) == (4, 2)
    assert [row["prediction"] for row in read(result.target)] == ["yes", "no"]
    with open(result.bad_rows or "") as file:
        assert [(row["row"], row["rule"]) for row in csv.DictReader(file)] == [("2", "unreadable"), ("3", "unreadable")]


def test_json_lines_keep_all_that_they_had(model: ModelPlace, tmp_path: Path) -> None:
    line = '{"floor area": 300, "lift": true, "deep": {"a": [1, null]}, "big": 123456789012345678901234567890}'
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    predict_files(model, [str(tmp_path / "rows.jsonl")], str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text().startswith(line[:-1] + ',"prediction":"yes",')


def test_mixed_and_missing_json_values_are_judged_row_by_row(model: ModelPlace, tmp_path: Path) -> None:
    values: list[Any] = [300, 300.5, "300", True, None, 2**70, float("nan")]
    source = write_lines(tmp_path / "rows.jsonl", [{"floor area": value, "lift": True} for value in values])
    for out in ("out.jsonl", "out.parquet"):
        rows = read(predict_files(model, [source], str(tmp_path / out)).target)
        assert [row["error"] is None for row in rows] == [True, True, False, False, False, False, False], out


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_quoted_line_ends_do_not_part_a_row(model: ModelPlace, tmp_path: Path) -> None:
    table = houses(1001).to_pandas()
    table["note"] = [f'say "{number}"\nand "more",\n' if number % 3 else "x" for number in range(len(table))]
    table.to_csv(tmp_path / "rows.csv", index=False)
    whole_file = predict_files(model, [str(tmp_path / "rows.csv")], str(tmp_path / "whole.csv"))
    in_parts = predict_files(
        model,
        [str(tmp_path / "rows.csv")],
        str(tmp_path / "parts.csv"),
        executor=ONE_PROCESS,
        part_size=PartSize(bytes=777),
    )
    assert (in_parts.rows, in_parts.bad) == (whole_file.rows, whole_file.bad) == (1001, 2)
    found = pd.read_csv(tmp_path / "parts.csv", keep_default_na=False)
    assert found["note"].tolist() == table["note"].tolist()
    assert found.equals(pd.read_csv(tmp_path / "whole.csv", keep_default_na=False))


@pytest.mark.parametrize("into", FORMATS)
def test_a_folder_gives_a_folder_that_pandas_reads(model: ModelPlace, tmp_path: Path, into: str) -> None:
    for start in (0, 100, 200):
        write(tmp_path / "rows" / f"{start}.{into}", houses(100, start).to_pylist())
    source, target = str(tmp_path / "rows"), str(tmp_path / "out")
    result = predict_files(model, [source], target, format="parquet", executor=ONE_PROCESS)
    frame = pd.read_parquet(tmp_path / "out")
    assert (result.rows, len(frame)) == (300, 300)
    assert frame["house id"].tolist() == [f"h{number}" for number in range(300)]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {"_SUCCESS", "_manifest.json", "_bad_rows.csv", *(f"part-{index:05}.parquet" for index in range(3))}
    assert names == expected


def test_a_pattern_gives_one_file_if_the_result_is_named_as_one(model: ModelPlace, tmp_path: Path) -> None:
    for start in (100, 0, 200):
        write(tmp_path / f"rows-{start:03}.csv", houses(100, start).to_pylist())
    write(tmp_path / "other.csv", [{"a": 1}])
    predict_files(model, [str(tmp_path / "rows-*.csv")], str(tmp_path / "out.parquet"), executor=ONE_PROCESS)
    assert [row["house id"] for row in read(tmp_path / "out.parquet")] == [f"h{number}" for number in range(300)]


def test_an_arrow_stream_is_read_as_well(model: ModelPlace, tmp_path: Path) -> None:
    table = houses(100)
    with pa.ipc.new_stream(tmp_path / "rows.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=30)
    result = predict_files(model, [str(tmp_path / "rows.arrow")])
    assert result.target == str(tmp_path / "rows.predictions.arrow")
    assert len(read(result.target)) == 100


def test_frames_of_pandas_with_categories_and_gaps_go_through(model: ModelPlace, tmp_path: Path) -> None:
    frame = pd.DataFrame(HOUSES[:2]).astype({"colour": "category", "class": "Int64"})
    frame.loc[1, "class"] = pd.NA
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    answers = []
    for name in ("rows.parquet", "rows.csv"):
        result = predict_files(model, [str(tmp_path / name)], str(tmp_path / "out.parquet"))
        assert result.bad == 0
        answers.append([row["probability_yes"] for row in read(result.target)])
    assert answers[0] == answers[1]


FEATURES: list[Feature] = [
    FloatFeature(name="x", type="float"),
    IntFeature(name="x", type="int"),
    BoolFeature(name="x", type="bool"),
    CategoryFeature(name="x", type="category", values=("red", "NA", "5")),
    CategoryFeature(name="x", type="category", values=(1, 5)),
    StringFeature(name="x", type="string"),
    DatetimeFeature(name="x", type="datetime"),
    VectorFeature(name="x", type="vector", length=2),
]
NUMBERS = ["NAN", "inf", "-Infinity", "1e999", "0x1F", "1_000", " 5", "5 ", "+5", "5.", ".5", "5.0", "5e0", "-0", "٣"]
NUMBERS += ["9007199254740993", "9223372036854775808"]
WORDS = ["TRUE", " false ", "1", "red", "[1, 2]", "[1],[2", "3]", "[true]", "[1, NaN]", '"x"', "1,5"]
MOMENTS = ["2020-02-30", "2020-02-03", "2020-02-03 10:00", "2020-02-03T10:00:00.123456", "2020-02-03T10:00Z"]
MOMENTS += ["20200203", "0000-01-01", "2020-02-03T10:00:00+02:00"]
TEXT = st.sampled_from([*MISSING_WORDS, *NUMBERS, *WORDS, *MOMENTS])


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.type)
@given(texts=st.lists(st.one_of(TEXT, st.text(max_size=5), st.floats().map(str), st.integers().map(str))))
def test_columns_of_text_mean_what_single_values_mean(feature: Feature, texts: list[str]) -> None:
    values, odd = from_texts(feature, pa.array(texts, pa.string()))
    for text, value, is_odd in zip(texts, values.to_pylist(), odd, strict=True):
        meant = from_text(text, feature)
        if is_odd:
            continue
        if feature.type in ("int", "category"):
            meant, value = whole(meant), whole(value)
        if feature.type == "datetime" and value is not None:
            value = value.isoformat()
        if feature.type == "category" and meant not in feature.values and meant is not None:
            assert value not in feature.values
            continue
        assert (value, isinstance(value, bool)) == (meant, isinstance(meant, bool)), text
