"""Where a result goes: one file, or a folder with a file for each part, as Spark writes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_microservice.errors import Fault, InputFileError, OutputFileError
from ml_microservice.inference.files.formats import ENDINGS, Format, format_of
from ml_microservice.inference.files.places import Place, beside, ending, is_pattern, name_of, place


@dataclass(frozen=True)
class Target:
    """Where a result goes."""

    place: Place
    format: Format
    is_folder: bool
    parts: Place
    """The folder of the parts' results: the result itself if it is a folder, or a hidden folder beside the file."""
    bad_rows: Place


def choose_target(inputs: Sequence[str], files: Sequence[Place], output: str | None, format: Format | None) -> Target:
    """Where the result goes.

    Args:
        inputs: as the user named them.
        files: what they stand for.
        output: as the user named it; None for a place beside a single input.
        format: of the files in a folder; by default, that of the input.

    Raises:
        InputFileError: it would be written over what is read.
        OutputFileError: it has to be named, or its name says another format.
    """
    url = _beside(inputs) if output is None else output
    is_folder = url.endswith("/") or not ending(url) or place(url).is_folder()
    target = place(url.rstrip("/") if is_folder else url)
    for given in inputs:
        is_inside = f"{target.url}/".startswith(f"{given.rstrip('/')}/")
        if is_inside or any(file.url == target.url for file in files):
            raise InputFileError(Fault("would be overwritten", given, advice="name another place for the result"))
    if is_folder:
        return Target(target, format or format_of(files[0].url), True, target, target.child("_bad_rows.csv"))
    kind = format_of(url)
    if format not in (None, kind):
        raise OutputFileError(Fault(f"its ending does not say {format}", url, advice="leave out --format"))
    stem = name_of(url).removesuffix(ending(url))
    return Target(target, kind, False, beside(url, f".{name_of(url)}.parts"), beside(url, f"{stem}.bad_rows.csv"))


def _beside(inputs: Sequence[str]) -> str:
    given = inputs[0].rstrip("/")
    if len(inputs) > 1 or is_pattern(given):
        raise OutputFileError(Fault("where is the result of several files to go?", advice="name it: --output"))
    known = "" if place(given).is_folder() or ending(given) not in ENDINGS else ending(given)
    return beside(given, f"{name_of(given).removesuffix(known)}.predictions{known}").url
