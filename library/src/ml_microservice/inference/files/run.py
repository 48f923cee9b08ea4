"""A run over files: parts that an earlier run finished are kept, processes predict the others, and all are joined."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import orjson

from ml_microservice.errors import Fault, OutputFileError
from ml_microservice.inference.files.executors import ExecutorConfig, execute
from ml_microservice.inference.files.formats import Format, added_fields, arrow, format_of
from ml_microservice.inference.files.parts import USUAL_SIZE, Part, PartSize, measure, parts
from ml_microservice.inference.files.places import Place
from ml_microservice.inference.files.plan import (
    BAD_COLUMNS,
    ModelPlace,
    PartResult,
    RunPlan,
    bad_name,
    record_name,
    result_name,
)
from ml_microservice.inference.files.progress import RunProgress, Tally
from ml_microservice.inference.files.sources import Sources, examine, find
from ml_microservice.inference.files.target import Target, choose_target

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"


@dataclass(frozen=True)
class FileResult:
    """The result of a run."""

    target: str
    rows: int
    bad: int
    """Rows without a prediction."""
    bad_rows: str | None
    """The file with the reason for each bad row, if there are any."""
    taken_up: int
    """Rows that an earlier run had predicted."""


def predict_files(
    model: ModelPlace,
    inputs: Sequence[str],
    output: str | None = None,
    *,
    format: Format | None = None,
    executor: ExecutorConfig | None = None,
    part_size: PartSize = USUAL_SIZE,
    on_progress: Callable[[RunProgress], None] = lambda progress: None,
) -> FileResult:
    """Predict every row of files; the memory needed does not grow with their size.

    A row keeps its columns, and gets `prediction`, `probability_<class>` for each class, and `error` if it broke a
    rule. The same call resumes a run that was killed, and gives the same result.

    Args:
        model: the folder in which every process finds the model.
        inputs: files, folders, patterns or URLs, of one format.
        output: a file, or a folder for one file per part; by default, a name beside the single input.
        format: of the files in an output folder; by default, that of the input.
        executor: what predicts the parts; by default, a process for each core.
        part_size: how large the parts are that the files are cut into.
        on_progress: takes the progress after each part.

    Raises:
        InputFileError: an input is missing, damaged, of no known format, or has other columns than the model takes.
        OutputFileError: the result cannot be written, or there is one already.
        ExecutorError: the processes or the cluster failed.
    """
    arrow()
    from ml_microservice.inference.files.part_prediction import predict_part, served_model
    from ml_microservice.inference.files.part_writer import join, joined_format

    files = find(inputs)
    target = choose_target(inputs, files, output, format)
    served, same = served_model(model), target.format == format_of(files[0].url)
    sources = examine(files, served, as_it_is=same)
    kept = target.format if target.is_folder else joined_format(target.format)
    plan = RunPlan(model, target.parts.url, kept, sources.schema, has_header=target.is_folder)
    done = _taken_up(target, _identity(sources, served.manifest.id, target.format, part_size))
    count, total = measure(sources.files, part_size)
    tally, planned = Tally(total, on_progress), list[Part]()

    def waiting() -> Iterator[Part]:
        for part in parts(sources.files, part_size, {index: earlier.stop for index, earlier in done.items()}):
            planned.append(part)
            if part.index in done:
                tally.add(part, done[part.index].rows, is_new=False)
            else:
                yield part

    config, places = executor or ExecutorConfig(), (*files, target.parts)
    for part, new in execute(config, partial(predict_part, plan), waiting(), count, places):
        done[part.index] = new
        tally.add(part, new.rows)
    _write_bad_rows(target, planned, done)
    if not target.is_folder:
        schema = None if sources.schema is None else arrow().schema([*sources.schema, *added_fields(served)])
        with target.place.writing(target.parts) as file:
            results = (target.parts.child(result_name(part.index, kept)).open() for part in planned)
            join(target.format, results, file, schema)
    _finish(target)
    rows, bad = (sum(getattr(done[part.index], name) for part in planned) for name in ("rows", "bad"))
    return FileResult(target.place.url, rows, bad, target.bad_rows.url if bad else None, tally.taken_up)


def _identity(sources: Sources, model_id: str, format: Format, size: PartSize) -> dict[str, Any]:
    """What has to be the same for a run to be resumed."""
    stamps = [[source.url, source.stamp] for source in sources.files]
    digest = hashlib.sha256(orjson.dumps(stamps)).hexdigest()
    identity = {"manifest": 1, "model_id": model_id, "files": len(stamps), "digest": digest, "format": format}
    return {**identity, "part_bytes": size.bytes, "part_rows": size.rows}


def _taken_up(target: Target, identity: dict[str, Any]) -> dict[int, PartResult]:
    """The results of parts that an earlier run finished, by index; files of any other run are removed.

    Raises:
        OutputFileError: the folder has other content.
    """
    names = set(target.parts.names())
    manifest = target.parts.child(MANIFEST)
    if target.is_folder and SUCCESS in names:
        raise OutputFileError(Fault("has a result in it already", target.place.url, advice="delete it or name another"))
    if target.is_folder and names and MANIFEST not in names:
        raise OutputFileError(Fault("is not empty", target.place.url, advice="name another folder"))
    if MANIFEST in names and _read(manifest) == identity:
        numbers = (name.removeprefix("_part-").removesuffix(".json") for name in names)
        indices = (int(number) for number in numbers if number.isdecimal())
        return {index: PartResult(**_read(target.parts.child(record_name(index)))) for index in indices}
    target.parts.remove()
    with manifest.writing(target.parts) as file:
        file.write(orjson.dumps(identity))
    return {}


def _read(file: Place) -> Any:
    with file.open() as opened:
        return orjson.loads(opened.read())


def _write_bad_rows(target: Target, planned: Sequence[Part], done: dict[int, PartResult]) -> None:
    """Write all bad rows to one file, with rows counted from the start of their file."""
    from ml_microservice.inference.files.part_writer import csv_line

    if not any(done[part.index].bad for part in planned):
        target.bad_rows.remove()
        return
    with target.bad_rows.writing(target.parts) as file:
        file.write(csv_line(BAD_COLUMNS))
        before, source = 0, None
        for part in planned:
            before, source = before if part.source is source else 0, part.source
            if done[part.index].bad:
                with target.parts.child(bad_name(part.index)).open() as bad:
                    _copy_counted(bad, file, before)
            before += done[part.index].rows


def _copy_counted(bad: IO[bytes], file: IO[bytes], before: int) -> None:
    from ml_microservice.inference.files.part_writer import csv_line

    for name, row, *reason in csv.reader(io.TextIOWrapper(bad, "utf-8", newline="")):
        file.write(csv_line((name, int(row) + before + 1, *reason)))


def _finish(target: Target) -> None:
    """Remove the files that only an unfinished run needs."""
    if not target.is_folder:
        target.parts.remove()
        return
    with target.parts.child(SUCCESS).writing(target.parts):
        pass
    for name in target.parts.names():
        if name.startswith(("_part-", ".part-", "._part-")):
            target.parts.child(name).remove()
