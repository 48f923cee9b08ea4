"""The file formats in which records are exported."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

from ml_microservice.errors import Fault, InputFileError

Write = Callable[[Sequence[dict[str, Any]]], None]
ExportFormat = Literal["csv", "jsonl", "parquet"]
ENDINGS: dict[str, ExportFormat] = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def export_format(target: Path) -> ExportFormat:
    """The format of a file, by its extension.

    Raises:
        InputFileError: the extension is not known.
    """
    known = ENDINGS.get(target.suffix.lower())
    if known is None:
        advice = f"use one of {', '.join(ENDINGS)}"
        message = f"{target.suffix or 'no ending'} is not a known format"
        raise InputFileError(Fault(message, str(target), advice=advice))
    return known


@contextmanager
def _write_csv(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None

        def write(rows: Sequence[dict[str, Any]]) -> None:
            nonlocal writer
            if writer is None and rows:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
            if writer is not None:
                writer.writerows(rows)

        yield write


@contextmanager
def _write_json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TEXT_WRITERS: Mapping[str, Callable[[Path], AbstractContextManager[Write]]] = {
    "csv": _write_csv,
    "jsonl": _write_json_lines,
}
"""Context managers that open a file and yield a function that writes rows. All rows have the same keys."""
