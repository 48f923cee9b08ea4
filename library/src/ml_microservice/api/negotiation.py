"""The formats of a bulk request and of its answer, from their headers."""

from collections.abc import Iterable

from ml_microservice.inference.bulk_formats import FORMATS, JSON, BulkFormat
from ml_microservice.inference.problems import Problem

ANY = "*/*"


def sent_format(content_type: str | None) -> BulkFormat:
    """The format that `Content-Type` names; JSON without one.

    Raises:
        Problem: the format is unknown, or needs pyarrow, which is not installed.
    """
    media_type = (content_type or JSON.media_type).split(";")[0].strip().lower()
    known = next((format for format in FORMATS if format.media_type == media_type), None)
    if known is None:
        detail = f"Send the header 'Content-Type: {JSON.media_type}', or one of {_names(FORMATS[1:])}."
        raise Problem(415, "unsupported-media-type", "The format of the body is not known", detail)
    if not known.is_available:
        raise Problem(415, "unsupported-media-type", "The format of the body needs pyarrow", _without_arrow())
    return known


def wanted_format(accept: str | None, sent: BulkFormat) -> BulkFormat:
    """The format of the answer: the one that `Accept` prefers; among equals, the format of the request.

    Raises:
        Problem: no known format is accepted.
    """
    if not accept or accept == ANY:
        return sent
    ranges = list(_ranges(accept))
    available = [sent, *(format for format in FORMATS if format.is_available and format is not sent)]
    best, wanted = 0.0, None
    for format in available:
        quality = _quality(format.media_type, ranges)
        if quality > best:
            best, wanted = quality, format
    if wanted is None:
        detail = f"The answer can be {_names(available)}: name one of them in the header 'Accept', or leave it out."
        raise Problem(406, "not-acceptable", "No format of the answer is accepted", detail)
    return wanted


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The quality of a media type: that of the most specific range that includes it."""
    for matching in (media_type, media_type.split("/")[0] + "/*", ANY):
        found = [quality for name, quality in ranges if name == matching]
        if found:
            return max(found)
    return 0.0


def _ranges(accept: str) -> Iterable[tuple[str, float]]:
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        try:
            yield name, float(quality)
        except ValueError:
            yield name, 0.0


def _names(formats: Iterable[BulkFormat]) -> str:
    return ", ".join(format.media_type for format in formats)


def _without_arrow() -> str:
    others = _names(format for format in FORMATS if format.is_available)
    return f"This service is installed without it: install the project's extra 'arrow', or send {others}."
