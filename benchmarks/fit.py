"""Fit a model by its hooks and store it as the one scikit-learn pipeline that the other servers are given.

Run by a system's own Python, so that the pipeline is of the library versions that load it:
PYTHONPATH=<folder with the package `model`> python fit.py FOLDER [--bodies]
"""

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

TARGET, SEED, TEST_SIZE = "default", 42, 0.2
"""Seed and share as in the generated project's config.yaml, so that both fit the same rows."""
REQUESTS, BULK_ROWS = 200, 10_000
SURE = 0.05
"""A row is checked if its probability is at least this far from one half: other library versions may round."""


def main(folder: Path, *, bodies: bool) -> None:
    """Fit and store; with `bodies`, also what is asked and what has to be answered."""
    from model.data_loader import DataLoader
    from model.train import Preprocessor, train_model

    frame = DataLoader().load_data()
    features, target = frame.drop(columns=[TARGET]), frame[TARGET]
    train, test, train_target, _ = train_test_split(
        features, target, test_size=TEST_SIZE, random_state=SEED, stratify=target
    )
    fitted = Preprocessor().fit(train, train_target)
    model = train_model(fitted.transform(train), train_target)
    # Without the wrapper where there is one, as nobody who serves a plain pipeline would have it.
    pipeline = Pipeline([("columns", getattr(fitted, "columns_", fitted)), ("model", model)])
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(pipeline, folder / "pipeline.joblib")
    if bodies:
        write_bodies(folder, pipeline, test)


def write_bodies(folder: Path, pipeline: Any, test: pd.DataFrame) -> None:
    """The rows to ask for, singly and in bulk, and the right answers."""
    asked = test.head(REQUESTS)
    labels = pipeline.predict(asked)
    sure = abs(pipeline.predict_proba(asked)[:, 0] - 0.5) >= SURE
    (folder / "rows.json").write_text(json.dumps(records(asked)))
    answers = [str(label) if certain else None for label, certain in zip(labels, sure, strict=True)]
    (folder / "answers.json").write_text(json.dumps(answers))
    bulk = test.sample(BULK_ROWS, replace=True, random_state=SEED).reset_index(drop=True)
    (folder / "bulk.json").write_text(json.dumps(records(bulk)))
    write_arrow(folder, bulk)


def write_arrow(folder: Path, bulk: pd.DataFrame) -> None:
    """The bulk rows as an Arrow IPC stream and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(bulk, preserve_index=False).replace_schema_metadata(None)
    with pa.OSFile(str(folder / "bulk.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, folder / "bulk.parquet")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON carries them: null where a value is missing."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]), bodies="--bodies" in sys.argv[2:])
