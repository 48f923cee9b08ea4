"""Rows as bodies of requests and answers, in every format that `/predict/batch` takes and gives."""

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
PARQUET = "application/vnd.apache.parquet"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
TABLES = [CSV, PARQUET, STREAM, FILE]


def encode(rows: list[dict[str, Any]], media_type: str) -> bytes:
    """Rows in a format."""
    if media_type == JSON:
        return json.dumps(rows).encode()
    if media_type == NDJSON:
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    names = list({name: None for row in rows for name in row})
    if media_type == CSV:
        text = io.StringIO()
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    sink = io.BytesIO()
    if media_type == PARQUET:
        pq.write_table(table, sink)
    else:
        with (pa.ipc.new_stream if media_type == STREAM else pa.ipc.new_file)(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def table_in(body: bytes, media_type: str) -> list[dict[str, Any]]:
    """The rows of a body that is a table."""
    if media_type == CSV:
        return list(csv.DictReader(io.StringIO(body.decode())))
    if media_type == PARQUET:
        return list(pq.read_table(io.BytesIO(body)).to_pylist())
    return list((pa.ipc.open_stream if media_type == STREAM else pa.ipc.open_file)(body).read_all().to_pylist())


def decode(body: bytes, media_type: str) -> list[dict[str, Any]]:
    """The answers of a body as flat rows, without what is missing."""
    if media_type in (JSON, NDJSON):
        rows = (
            json.loads(body)["predictions"]
            if media_type == JSON
            else [json.loads(line) for line in body.split(b"\n")[:-1]]
        )
        rows = [
            {
                **{key: value for key, value in row.items() if key not in ("probabilities", "error")},
                **{f"probability_{name}": value for name, value in row.get("probabilities", {}).items()},
                **({"error": row["error"]["detail"]} if "error" in row else {}),
            }
            for row in rows
        ]
    else:
        rows = table_in(body, media_type)
    return [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]
