"""Bodies and results that are too large for the database: a folder for each job, on a disk or at an fsspec URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from ml_microservice.errors import Fault, ServiceError, StorageError
from ml_microservice.inference.files.places import Place, place
from ml_microservice.settings import Settings


def body_name(number: int) -> str:
    """The name of the file with a chunk's body."""
    return f"body-{number}"


def result_name(number: int) -> str:
    """The name of the file with a chunk's result."""
    return f"result-{number}"


class JobStorage:
    """The files of jobs. Writes are atomic, and a finished write survives a power loss.

    Args:
        settings: the project's. All services and workers share one storage.

    Raises:
        StorageError: the storage needs a library that is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        where = settings.jobs.storage
        self._is_local = "://" not in where
        with self._reported(where):
            self._root: Place = place(settings.root / where if self._is_local else where)

    def write(self, job_id: str, name: str, data: bytes) -> None:
        """Write a file of a job, replacing any file of the same name.

        Raises:
            StorageError: the file cannot be written.
        """
        folder = self._root.child(job_id)
        with self._reported(folder.url):
            is_new = self._is_local and not folder.exists()
            with folder.child(name).writing(folder) as file:
                file.write(data)
            if self._is_local:
                _sync_folder(folder.url)
            if is_new:
                _sync_folder(self._root.url)

    def read(self, job_id: str, name: str) -> bytes:
        """Read a file of a job.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: the file cannot be read.
        """
        file = self._root.child(job_id).child(name)
        with self._reported(file.url), file.open() as opened:
            return opened.read()

    def remove(self, job_id: str) -> None:
        """Remove all files of a job, if there are any.

        Raises:
            StorageError: the files cannot be removed.
        """
        folder = self._root.child(job_id)
        with self._reported(folder.url):
            folder.remove()

    def ids(self) -> list[str]:
        """The ids of the jobs that have files. Other files in the storage are ignored.

        Raises:
            StorageError: the storage cannot be listed.
        """
        with self._reported(self._root.url):
            return [name for name in self._root.names() if _is_id(name)]

    @contextmanager
    def _reported(self, url: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except ServiceError as error:
            raise StorageError(*error.faults) from error
        except Exception as error:  # each driver has its own exceptions
            message = f"{url}: {type(error).__name__}: {error}"
            advice = "look at jobs.storage in config.yaml, and see that this process may read and write there"
            raise StorageError(Fault(message, advice=advice)) from error


def _sync_folder(path: str) -> None:
    """Sync a folder, so that the names in it survive a power loss."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
