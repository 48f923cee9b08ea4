"""What the tests of records share: a reader of segments, journals, and disks of a few megabytes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_microservice.records.journal import Journal
from ml_microservice.records.record import Record, records_in
from ml_microservice.records.segment import segment_files
from ml_microservice.settings import RecordsSettings

Read = Callable[[Path], list[Record]]
Open = Callable[..., Journal]


def lines_of(path: Path) -> list[bytes]:
    """The whole lines of a segment after its header; what follows the last newline is torn."""
    return path.read_bytes().split(b"\n")[1:-1]


@pytest.fixture
def read() -> Read:
    """All records in a folder of records, in order."""

    def read(directory: Path) -> list[Record]:
        return [record for path in segment_files(directory) for line in lines_of(path) for record in records_in(line)]

    return read


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[Open]:
    """Opens journals of a folder, with some settings; closed after the test."""
    opened: list[Journal] = []

    def open_journal(directory: Path | None = None, **settings: object) -> Journal:
        journal = Journal(directory or tmp_path, "houses", RecordsSettings.model_validate(settings))
        opened.append(journal)
        journal.open()
        return journal

    yield open_journal
    for journal in opened:
        journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        words = f"no file system can be mounted here: {mount.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
