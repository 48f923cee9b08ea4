"""The errors of the service, with what their reader needs.

A `Fault` is one thing that is wrong: where, what, and how to fix it. A `ServiceError` carries one or many of them,
because a person would rather see all mistakes at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, in the words of the person who can fix it."""

    message: str
    """What is wrong, naming the feature or key and the rule."""
    file: str | None = None
    """The file to open, relative to the project."""
    line: int | None = None
    """The line in that file, counted from 1."""
    advice: str | None = None
    """What to do about it."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        sentence = f"{place}: {self.message}" if place else self.message
        return f"{sentence} ({self.advice})" if self.advice else sentence


class ServiceError(Exception):
    """Base of all errors that are meant for people: the text is shown, the traceback is not."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = tuple(Fault(fault) if isinstance(fault, str) else fault for fault in faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type["ServiceError"], tuple[Fault, ...]]:
        # An error from another process arrives with all its faults.
        return type(self), self.faults


class ConfigError(ServiceError):
    """`config.yaml`, `features.yaml` or a `SERVICE__...` variable cannot be used as it is."""


class FrameError(ServiceError):
    """The training frame contradicts `features.yaml`."""


class HookError(ServiceError):
    """One of the four hooks is missing, raised, or returned something that cannot be used."""


class ArtefactError(ServiceError):
    """A model version is missing, corrupt, foreign, or does not reproduce its own golden rows."""


class GateError(ServiceError):
    """A model cannot be evaluated or judged, because something needed for it is missing or has changed."""


class InstallError(ServiceError):
    """Elasticsearch or Kibana cannot be reached, or refuses what is to be installed."""


class InputFileError(ServiceError):
    """A file to predict cannot be read."""


class OutputFileError(ServiceError):
    """A result cannot be written."""


class ExecutorError(ServiceError):
    """The worker processes or the Dask cluster cannot be reached, or died."""


class StorageError(ServiceError):
    """The storage of jobs' bodies and results cannot be read or written."""


class DatabaseError(ServiceError):
    """The database cannot be reached, or its tables are not those that this code needs."""


class BrokerError(ServiceError):
    """The broker of jobs cannot be reached, or refuses messages."""


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The closest known word as a question, or `otherwise`."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {matches[0]!r}?" if matches else otherwise


def listed(words: Iterable[object], limit: int = 12) -> str:
    """Words joined by commas, with at most `limit` of them spelled out."""
    texts = [str(word) for word in words]
    shown = ", ".join(texts[:limit])
    return f"{shown} and {len(texts) - limit} more" if len(texts) > limit else shown
