"""The input files of a run: all of one format, and with the same columns, which the model takes."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import orjson

from ml_microservice.errors import Fault, InputFileError, did_you_mean
from ml_microservice.features.spec import Feature
from ml_microservice.inference.files.formats import Format, added_fields, arrow, format_of, is_stream
from ml_microservice.inference.files.places import Place, is_pattern, place
from ml_microservice.inference.served_model import ServedModel

if TYPE_CHECKING:
    import pyarrow as pa

BOM = b"\xef\xbb\xbf"
SAMPLE_ROWS = 1_000
MAX_HEADER = 2**20


@dataclass(frozen=True)
class Source:
    """One input file."""

    url: str
    format: Format
    size: int
    """Size in bytes."""
    stamp: str
    names: tuple[str, ...] | None
    """Names of the columns, in the order of the file; None if every row has its own keys."""
    start: int = 0
    """First byte after the header of a text file."""
    is_stream: bool = False
    """Whether the file is an Arrow stream."""


@dataclass(frozen=True)
class Sources:
    """All files of a run."""

    files: list[Source]
    schema: "pa.Schema | None"
    """The columns that the result copies; None if it copies lines of JSON unchanged."""

    @property
    def format(self) -> Format:
        """The format of all of them."""
        return self.files[0].format


def find(urls: Sequence[str]) -> list[Place]:
    """The files that paths, URLs, folders and patterns name, in order.

    Raises:
        InputFileError: there are none, or their formats differ.
    """
    found: list[Place] = []
    for url in urls:
        given = place(url)
        if given.is_folder() or (is_pattern(url) and not given.exists()):
            inside = given.files()
            if not inside:
                words = "has no files in it" if given.is_folder() else "no file has a name like this"
                raise InputFileError(Fault(words, url))
            found += inside
        elif given.exists():
            found.append(given)
        else:
            raise InputFileError(Fault("there is no such file", url))
    formats = {format_of(file.url): file.url for file in reversed(found)}
    if len(formats) > 1:
        words = f"has files of several formats: {', '.join(sorted(formats.values()))}"
        raise InputFileError(Fault(words, ", ".join(urls), advice="predict one format at a time, as with '*.csv'"))
    return found


def examine(files: Sequence[Place], served: ServedModel, *, as_it_is: bool) -> Sources:
    """Read and check the columns of all files before anything is predicted.

    Args:
        files: all of one format.
        served: the model.
        as_it_is: whether the result has the same format, and so copies text unchanged.

    Raises:
        InputFileError: a file is damaged, the files differ, or the model does not take their columns.
    """
    arrow()
    looked = [_look(file, served) for file in files]
    sources = [source for source, _ in looked]
    first, schema = looked[0]
    for source, other in looked[1:]:
        _check_same(first, schema, source, other)
    if first.format == "jsonl":
        schema = None if as_it_is else _sampled(files[0], served)
    else:
        _check_columns(schema.names, served, first.url)
        if first.format == "csv" and as_it_is:
            schema = _text(schema.names)
    return Sources(sources, schema)


def _look(file: Place, served: ServedModel) -> tuple[Source, Any]:
    pa, format = arrow(), format_of(file.url)
    try:
        with file.open() as opened:
            size, stamp = file.size(), file.stamp()
            if format == "jsonl":
                start = len(BOM) if opened.read(len(BOM)) == BOM else 0
                return Source(file.url, format, size, stamp, None, start), None
            if format == "csv":
                names, start = _header(opened, file.url)
                kinds = [_csv_type(served.schema.spec.feature(name)) for name in names]
                schema = pa.schema(list(zip(names, kinds, strict=True)))
                return Source(file.url, format, size, stamp, tuple(names), start), schema
            schema, stream = _arrow_schema(opened, format)
            _check_distinct(schema.names, file.url)
            return Source(file.url, format, size, stamp, tuple(schema.names), is_stream=stream), _plain(schema)
    except (pa.ArrowException, OSError) as error:
        words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputFileError(Fault(f"cannot be read as {format}: {words}", file.url)) from None


def _arrow_schema(file: Any, format: Format) -> tuple[Any, bool]:
    pa = arrow()
    if format == "parquet":
        return pa.parquet.read_schema(file), False
    stream = is_stream(file)
    return (pa.ipc.open_stream(file) if stream else pa.ipc.open_file(file)).schema, stream


def _header(file: Any, url: str) -> tuple[list[str], int]:
    """The names in the first line, and the byte at which it ends."""
    line = b""
    while not line or line.count(b'"') % 2:
        more = file.readline(MAX_HEADER)
        line += more
        if not more or len(line) >= MAX_HEADER:
            break
    try:
        text = line.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        raise InputFileError(Fault("is not UTF-8", url, 1, "save it as UTF-8")) from None
    names = next(csv.reader(io.StringIO(text, newline="")), [])
    if not names:
        raise InputFileError(Fault("has no header", url, 1, "name the columns in the first line"))
    _check_distinct(names, url)
    return names, len(line)


def _check_distinct(names: Sequence[str], url: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputFileError(Fault(f"has the column {repeated[0]!r} twice", url, advice="rename one"))


def _csv_type(feature: Feature | None) -> Any:
    from ml_microservice.features.arrow_columns import natural_type

    return arrow().string() if feature is None else natural_type(feature)


def _plain(schema: Any) -> Any:
    """The schema without dictionaries, which must not differ within an Arrow file, and without the file's metadata."""
    pa = arrow()
    decoded = [
        pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type, f.nullable) for f in schema
    ]
    return pa.schema(decoded)


def _text(names: Sequence[str]) -> Any:
    pa = arrow()
    return pa.schema([pa.field(name, pa.string()) for name in names])


def _check_same(first: Source, schema: Any, other: Source, theirs: Any) -> None:
    if schema is None:
        return
    faults = [
        Fault(f"has no column {name!r}, as {first.url} has", other.url)
        for name in schema.names
        if name not in theirs.names
    ]
    faults += [
        Fault(f"has a column {name!r}, which {first.url} has not", other.url)
        for name in theirs.names
        if name not in schema.names
    ]
    faults += [
        Fault(f"column {field.name!r} is {theirs.field(field.name).type}, but {field.type} in {first.url}", other.url)
        for field in schema
        if field.name in theirs.names and theirs.field(field.name).type != field.type
    ]
    if faults:
        raise InputFileError(*faults)


def _check_columns(columns: Sequence[str], served: ServedModel, url: str) -> None:
    spec = served.schema.spec
    absent = [feature for feature in spec.features if feature.name not in columns]
    unknown = [name for name in columns if spec.feature(name) is None and name != served.id_name]
    faults = []
    for feature in absent:
        meant = get_close_matches(feature.name, unknown, n=1, cutoff=0.8)
        if feature.required:
            faults.append(Fault(f"has no column {feature.name!r}", url, advice=did_you_mean(feature.name, columns)))
        elif meant:
            message = f"has a column {meant[0]!r}, which is no feature, and none for {feature.name!r}"
            faults.append(Fault(message, url, advice="rename it, or leave it out"))
    taken = [field.name for field in added_fields(served) if field.name in columns]
    faults += [Fault(f"has a column {name!r} already", url, advice="rename it") for name in taken]
    if faults:
        raise InputFileError(*faults)


def _sampled(file: Place, served: ServedModel) -> Any:
    """The columns of JSON lines, taken from the first lines."""
    pa = arrow()
    values: dict[str, list[Any]] = {}
    with file.open() as opened:
        for _ in range(SAMPLE_ROWS):
            line = opened.readline(MAX_HEADER).removeprefix(BOM)
            try:
                row = orjson.loads(line or b"null")
            except orjson.JSONDecodeError:
                continue
            for name, value in row.items() if isinstance(row, dict) else ():
                values.setdefault(name, []).append(value)
            if not line:
                break
    fields = []
    for name, given in values.items():
        feature = served.schema.spec.feature(name)
        try:
            kind = pa.array(given).type if feature is None or feature.type == "datetime" else _csv_type(feature)
        except (pa.ArrowException, OverflowError):
            message, advice = f"values of {name!r} are of several types", "write the result as .jsonl"
            raise InputFileError(Fault(message, file.url, advice=advice)) from None
        is_text = pa.types.is_null(kind) or (feature is not None and feature.type == "datetime")
        fields.append(pa.field(name, pa.string() if is_text else kind))
    if fields:
        _check_columns([field.name for field in fields], served, file.url)
    return pa.schema(fields)
