"""The format in which the bodies of a job's chunks are stored."""

from ml_microservice.inference.bulk_formats import FORMATS, BulkFormat

STREAM = "application/vnd.apache.arrow.stream"
STORED_AS = {"application/vnd.apache.parquet": STREAM, "application/vnd.apache.arrow.file": STREAM}
"""Formats that cannot be split without being rewritten, and the format of their chunks."""


def body_format(media_type: str) -> BulkFormat:
    """The format of the chunks of a job, by the media type that was submitted.

    A job of a single object is an exception: its chunk is that object, which this format does not read.
    """
    stored_as = STORED_AS.get(media_type, media_type)
    return next(format for format in FORMATS if format.media_type == stored_as)
