"""Places of files: on this machine or, through fsspec, at s3://, gs://, az:// and other storages."""

import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from ml_microservice.errors import Fault, InputFileError, OutputFileError
from ml_microservice.extras import how_to_install

HIDDEN = ("_", ".")
"""Prefixes of names that are not data; pyarrow, pandas and Spark skip them too."""
MAGIC = frozenset("*?[")
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}


class Place(Protocol):
    """A file or a folder, which need not exist."""

    @property
    def url(self) -> str:
        """The path or URL as the user gave it."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes see its content."""
        ...

    def child(self, name: str) -> "Place":
        """The place of a name in this folder."""
        ...

    def exists(self) -> bool:
        """Whether the file or folder exists."""
        ...

    def is_folder(self) -> bool:
        """Whether it exists and is a folder."""
        ...

    def names(self) -> list[str]:
        """The names in this folder; none if it does not exist."""
        ...

    def files(self) -> list["Place"]:
        """The data files in this folder and its subfolders, or those that match this pattern, sorted."""
        ...

    def size(self) -> int:
        """The size of the file in bytes."""
        ...

    def stamp(self) -> str:
        """A text that differs once the file has changed."""
        ...

    def open(self) -> IO[bytes]:
        """Open the file for reading and seeking."""
        ...

    def writing(self, scratch: "Place") -> Any:
        """A context manager that opens a file for writing; the file appears whole when the context ends, or never.

        Args:
            scratch: a folder on the same storage, for the unfinished file.
        """
        ...

    def remove(self) -> None:
        """Remove the file, or the folder with its content, if it exists."""
        ...


def place(url: str | Path) -> Place:
    """The place of a path or a URL.

    Raises:
        InputFileError: the library that reaches the URL is not installed.
    """
    text = str(url)
    return RemotePlace.of(text) if "://" in text else LocalPlace(text)


def name_of(url: str) -> str:
    """The last part of a path or a URL."""
    return url.rstrip("/").rpartition("/")[2]


def beside(url: str, name: str) -> Place:
    """The place of a name in the folder of a path or URL."""
    folder, slash, _ = url.rstrip("/").rpartition("/")
    return place(f"{folder}{slash}{name}")


def ending(url: str) -> str:
    """The ending of a name, in lower case, with its dot."""
    return os.path.splitext(name_of(url))[1].lower()


def is_pattern(url: str) -> bool:
    """Whether a path is a pattern for several files."""
    return not MAGIC.isdisjoint(url)


@dataclass(frozen=True)
class LocalPlace:
    """A place on a local or mounted disk."""

    url: str
    is_shared = True

    def child(self, name: str) -> "LocalPlace":
        """See `Place`."""
        return LocalPlace(os.path.join(self.url, name))

    def exists(self) -> bool:
        """See `Place`."""
        return os.path.exists(self.url)

    def is_folder(self) -> bool:
        """See `Place`."""
        return os.path.isdir(self.url)

    def names(self) -> list[str]:
        """See `Place`."""
        return sorted(os.listdir(self.url)) if self.is_folder() else []

    def files(self) -> list[Place]:
        """See `Place`."""
        if is_pattern(self.url) and not self.exists():
            found = [path for path in glob.glob(self.url, recursive=True) if os.path.isfile(path)]
        else:
            found = [str(path) for path in Path(self.url).rglob("*") if path.is_file() and _is_data(path, self.url)]
        return [LocalPlace(path) for path in sorted(found)]

    def size(self) -> int:
        """See `Place`."""
        return os.path.getsize(self.url)

    def stamp(self) -> str:
        """See `Place`."""
        state = os.stat(self.url)
        return f"{state.st_size}-{state.st_mtime_ns}"

    def open(self) -> IO[bytes]:
        """See `Place`."""
        return open(self.url, "rb")

    @contextmanager
    def writing(self, scratch: Place) -> Iterator[IO[bytes]]:
        """See `Place`.

        Raises:
            OutputFileError: it cannot be written.
        """
        # Two processes may write the same file, when a cluster takes one of them for lost.
        unfinished = Path(scratch.url, f".{name_of(self.url)}.{socket.gethostname()}-{os.getpid()}.tmp")
        with _writable(self.url):
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            file = unfinished.open("wb")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with _writable(self.url):
                os.replace(unfinished, self.url)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """See `Place`."""
        if self.is_folder():
            shutil.rmtree(self.url, ignore_errors=True)
        elif self.exists():
            os.unlink(self.url)


def _is_data(path: Path, root: str) -> bool:
    return not any(part.startswith(HIDDEN) for part in path.relative_to(root).parts)


@contextmanager
def _writable(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFileError(Fault(f"cannot be written: {error.strerror or error}", url)) from None


@dataclass(frozen=True)
class RemotePlace:
    """A place that fsspec reaches."""

    url: str
    protocol: str

    @classmethod
    def of(cls, url: str) -> "RemotePlace":
        """The place of a URL; see `place`."""
        protocol = url.partition("://")[0]
        try:
            import fsspec

            fsspec.get_filesystem_class(protocol)
        except ValueError:
            raise InputFileError(Fault(f"{protocol}:// is no known storage", url)) from None
        except ImportError as missing:
            driver = DRIVERS.get(protocol) if missing.name != "fsspec" else None
            advice = f"add {driver!r} to the extra 'model' in pyproject.toml" if driver else str(missing)
            if missing.name == "fsspec":
                advice = how_to_install("storage")
            raise InputFileError(Fault(f"{protocol}:// needs a library that is missing", url, advice=advice)) from None
        return cls(url, protocol)

    @property
    def is_shared(self) -> bool:
        """See `Place`."""
        return self.protocol != "memory"

    @property
    def _system(self) -> Any:
        import fsspec

        return fsspec.core.url_to_fs(self.url)[0]

    @property
    def _path(self) -> str:
        path: str = self._system._strip_protocol(self.url)
        return path

    def child(self, name: str) -> "RemotePlace":
        """See `Place`."""
        return RemotePlace(f"{self.url.rstrip('/')}/{name}", self.protocol)

    def exists(self) -> bool:
        """See `Place`."""
        return bool(self._system.exists(self._path))

    def is_folder(self) -> bool:
        """See `Place`."""
        return bool(self._system.isdir(self._path))

    def names(self) -> list[str]:
        """See `Place`."""
        if not self.is_folder():
            return []
        return sorted(name_of(path) for path in self._system.ls(self._path, detail=False, refresh=True))

    def files(self) -> list[Place]:
        """See `Place`."""
        system, path = self._system, self._path
        if is_pattern(self.url) and not self.exists():
            found = [one for one in system.glob(path) if system.isfile(one)]
        else:
            found = [one for one in system.find(path) if _is_data(Path(one), path)]
        return [RemotePlace(system.unstrip_protocol(one), self.protocol) for one in sorted(found)]

    def size(self) -> int:
        """See `Place`."""
        return int(self._system.size(self._path))

    def stamp(self) -> str:
        """See `Place`."""
        return f"{self.size()}-{self._system.ukey(self._path)}"

    def open(self) -> IO[bytes]:
        """See `Place`."""
        file: IO[bytes] = self._system.open(self._path, "rb")
        return file

    @contextmanager
    def writing(self, scratch: Place) -> Iterator[IO[bytes]]:
        """See `Place`; made on this machine first, since not every storage can take back an unfinished file."""
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            system, path = self._system, self._path
            try:
                if self.protocol in ("file", "local"):  # of the storages with real folders, the only one
                    system.makedirs(system._parent(path), exist_ok=True)
                system.put_file(file.name, path)
            except Exception as error:  # of whatever kind the driver has
                message = f"cannot be written: {type(error).__name__}: {error}"
                raise OutputFileError(Fault(message, self.url)) from error

    def remove(self) -> None:
        """See `Place`."""
        if self.exists():
            self._system.rm(self._path, recursive=True)
