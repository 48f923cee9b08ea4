"""The target of a run: one file, or a folder with one file per part, as Spark writes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_microservice.errors import Fault, InputFileError, OutputFileError
from ml_microservice.inference.files.formats import ENDINGS, Format, format_of
from ml_microservice.inference.files.places import Place, beside, ending, is_pattern, name_of, place


@dataclass(frozen=True)
class Target:
    """The place of a result, and of the files that its run needs."""

    place: Place
    format: Format
    is_folder: bool
    parts: Place
    """The folder of the parts' results: the result itself if it is a folder, or a hidden folder beside the file."""
    bad_rows: Place


def choose_target(inputs: Sequence[str], files: Sequence[Place], output: str | None, format: Format | None) -> Target:
    """Choose the target of a run.

    Args:
        inputs: paths, URLs and patterns as the user gave them.
        files: the files that they name.
        output: the path or URL that the user gave; None for a name beside the single input.
        format: of the files in a folder; by default, that of the input.

    Raises:
        InputFileError: the result would overwrite an input.
        OutputFileError: the output has to be named, or its ending is that of another format.
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
