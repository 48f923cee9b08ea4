"""Predict a file as one does by hand: in chunks of pandas, with the pipeline or with MLflow's Python function.

Usage: python predict_file.py pandas|mlflow SOURCE TARGET
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

CHUNK = 50_000


def pipeline() -> Callable[[pd.DataFrame], dict[str, Any]]:
    """`predict` and `predict_proba` of the pipeline."""
    import joblib

    model = joblib.load(os.environ["BENCH_PIPELINE"])

    def answer(frame: pd.DataFrame) -> dict[str, Any]:
        probabilities = model.predict_proba(frame)
        columns = {f"probability_{label}": probabilities[:, i] for i, label in enumerate(model.classes_)}
        return {"prediction": model.predict(frame), **columns}

    return answer


def function() -> Callable[[pd.DataFrame], dict[str, Any]]:
    """`predict` of MLflow's Python function, which is all that it has."""
    import mlflow

    model = mlflow.pyfunc.load_model("model")
    return lambda frame: {"prediction": model.predict(frame)}


def chunks(source: Path) -> Iterator[pd.DataFrame]:
    """The rows of a file."""
    if source.suffix == ".csv":
        yield from pd.read_csv(source, chunksize=CHUNK)
    else:
        yield from (batch.to_pandas() for batch in pq.ParquetFile(source).iter_batches(CHUNK))


def main(what: str, source: Path, target: Path) -> None:
    """Predict and write chunk by chunk."""
    answer = pipeline() if what == "pandas" else function()
    writer: Any = None
    for number, frame in enumerate(chunks(source)):
        result = frame.assign(**answer(frame))
        if target.suffix == ".csv":
            result.to_csv(target, mode="a", header=number == 0, index=False)
            continue
        table = pa.Table.from_pandas(result, preserve_index=False)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
