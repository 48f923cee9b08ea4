"""Files that cannot be predicted: the reason is told before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from ml_microservice.errors import ExecutorError, InputFileError, OutputFileError, ServiceError
from ml_microservice.inference.files.executors import ExecutorConfig
from ml_microservice.inference.files.plan import ModelPlace
from ml_microservice.inference.files.run import predict_files
from tests.inference.files.conftest import HOUSES, houses, write

HEADER = "floor area,lift"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.xlsx", "", "use one of .csv, .parquet"),
        ("gone.csv", None, "there is no such file"),
        ("rows.csv", "", "has no header"),
        ("rows.csv", "flor area,lift\n1,true\n", "has no column 'floor area' (did you mean 'flor area'?)"),
        ("rows.csv", f"{HEADER},gardn[ha]\n1,true,1\n", "has a column 'gardn[ha]', which is no feature, and none for"),
        ("rows.csv", f"{HEADER},prediction\n1,true,x\n", "has a column 'prediction' already"),
        ("rows.csv", f"{HEADER},lift\n1,true,x\n", "has the column 'lift' twice"),
        ("rows.parquet", "nothing of the kind", "cannot be read as parquet"),
        ("rows.arrow", "nothing of the kind", "cannot be read as arrow"),
        ("*.csv", None, "no file has a name like this"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_leaves_nothing(
    model: ModelPlace, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputFileError) as caught:
        predict_files(model, [str(tmp_path / name)], str(tmp_path / "out.csv"))
    assert words in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_text_that_is_not_utf8_is_refused_with_the_file_named(model: ModelPlace, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(f"{HEADER},note\n1,true,".encode() + b"caf\xe9\n")
    with pytest.raises(InputFileError, match=r"rows\.csv: cannot be read as csv"):
        predict_files(model, [str(tmp_path / "rows.csv")], str(tmp_path / "out.csv"))


def change(**changes: Any) -> list[dict[str, Any]]:
    """A house with other values."""
    row = {**HOUSES[0], **changes}
    return [{key: value for key, value in row.items() if value is not ...}]


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("b.parquet", change(note=...), "has no column 'note', as"),
        ("b.parquet", change(more=1), "has a column 'more', which"),
        ("b.parquet", change(note=5), "column 'note' is int64, but string in"),
        ("b.csv", change(), "files of several formats"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    model: ModelPlace, tmp_path: Path, name: str, rows: list[dict[str, Any]], words: str
) -> None:
    write(tmp_path / "rows" / "a.parquet", HOUSES)
    write(tmp_path / "rows" / name, rows)
    with pytest.raises(InputFileError, match=words):
        predict_files(model, [str(tmp_path / "rows")], str(tmp_path / "out"))


def test_json_keys_that_appear_late_are_refused_where_a_table_cannot_hold_them(
    model: ModelPlace, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [{"floor area": 100, "lift": True}] * 2000
    source = write(tmp_path / "rows.jsonl", [*rows, {"floor area": 100, "lift": True, "late": 1}])
    with pytest.raises(InputFileError, match=r"'late' is not in the first rows.*write the result as \.jsonl"):
        predict_files(model, [source], str(tmp_path / "out.parquet"))
    assert predict_files(model, [source], str(tmp_path / "out.jsonl")).rows == 2001


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        ("rows.csv", InputFileError, "would be overwritten"),
        ("full/other.csv/out.csv", OutputFileError, "cannot be written: Not a directory"),
        ("full", OutputFileError, "is not empty"),
        ("out.xlsx", InputFileError, "use one of"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_refused(
    model: ModelPlace, tmp_path: Path, output: str, error: type[ServiceError], words: str
) -> None:
    source = write(tmp_path / "rows.csv", HOUSES)
    write(tmp_path / "full" / "other.csv", HOUSES)
    with pytest.raises(error, match=words):
        predict_files(model, [source], str(tmp_path / output))
    assert Path(source).read_text().count("\n") == 4


def test_a_result_in_a_folder_is_not_written_over(model: ModelPlace, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", HOUSES)
    predict_files(model, [source], str(tmp_path / "out"))
    with pytest.raises(OutputFileError, match="has a result in it already"):
        predict_files(model, [source], str(tmp_path / "out"))
    with pytest.raises(InputFileError, match="would be overwritten"):
        predict_files(model, [str(tmp_path / "out")], str(tmp_path / "out" / "again"))


def test_a_damaged_file_in_the_middle_of_others_is_named(model: ModelPlace, tmp_path: Path) -> None:
    write(tmp_path / "rows" / "a.parquet", houses(100).to_pylist())
    damaged = Path(write(tmp_path / "rows" / "b.parquet", houses(100).to_pylist()))
    content = bytearray(damaged.read_bytes())
    content[50:250] = bytes(200)
    damaged.write_bytes(content)
    with pytest.raises(InputFileError, match=r"b\.parquet: cannot be read as parquet"):
        predict_files(model, [str(tmp_path / "rows")], str(tmp_path / "out"), executor=ExecutorConfig(workers=2))
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_storage_that_is_not_installed_is_named_with_its_library(model: ModelPlace, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(InputFileError, match="nowhere:// is no known storage"):
        predict_files(model, ["nowhere://bucket/rows.csv"], str(tmp_path / "out.csv"))
    try:
        import s3fs  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(InputFileError, match="add 's3fs' to the extra 'model'"):
            predict_files(model, ["s3://bucket/rows.csv"], str(tmp_path / "out.csv"))


def test_a_cluster_that_is_not_there_is_an_error(model: ModelPlace, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    import dask

    source = write(tmp_path / "rows.csv", HOUSES)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ExecutorError, match="no Dask scheduler answers"),
    ):
        predict_files(
            model, [source], str(tmp_path / "out.csv"), executor=ExecutorConfig("dask", scheduler="tcp://127.0.0.1:9")
        )
