"""How a chunk is kept: the format of its body, and the names of body and result in the storage of its job."""

from ml_microservice.inference.bulk_formats import FORMATS, BulkFormat

STREAM = "application/vnd.apache.arrow.stream"
KEPT_AS = {"application/vnd.apache.parquet": STREAM, "application/vnd.apache.arrow.file": STREAM}
"""Formats that cannot be cut without being written anew."""


def body_format(media_type: str) -> BulkFormat:
    """The format of the bodies of the chunks of a job, by the media type that was sent.

    The body of a job of a single object is that object, which this format does not read.
    """
    kept_as = KEPT_AS.get(media_type, media_type)
    return next(format for format in FORMATS if format.media_type == kept_as)


def body_name(number: int) -> str:
    """Of a chunk's body, where it is in the storage."""
    return f"body-{number}"


def result_name(number: int) -> str:
    """Of a chunk's result, where it is in the storage."""
    return f"result-{number}"
