"""The journal: what it promises of lines, segments and disks."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from ml_microservice.errors import ServiceError
from ml_microservice.records.disk_sync import NotStored
from ml_microservice.records.journal import CAP_REACHED, Journal, JournalStatus
from ml_microservice.records.segment import segment_files, segments_folder
from ml_microservice.settings import RecordsSettings
from tests import waiting

until = partial(waiting.until, seconds=10)

LINE = b'{"some": "line"}\n'


def lines(directory: Path) -> list[bytes]:
    """The lines of all segments, without headers."""
    return [line for path in segment_files(directory) for line in path.read_bytes().split(b"\n")[1:-1]]


def is_open(path: Path) -> bool:
    """Whether its writer holds the lock of a segment."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_line_is_in_the_file_when_append_returns(journals: Any, tmp_path: Path) -> None:
    journal = journals(sync_milliseconds=10_000)
    assert journal.append(LINE) is None
    assert lines(tmp_path) == [LINE[:-1]]


def test_a_segment_has_a_header_and_is_locked_until_its_journal_is_closed(journals: Any, tmp_path: Path) -> None:
    journal = journals()
    journal.append(LINE)
    [path] = segment_files(tmp_path)
    header = orjson.loads(path.read_bytes().split(b"\n")[0])
    assert (header["format"], header["project"]) == (1, "houses")
    assert is_open(path)
    journal.close()
    assert not is_open(path)
    with pytest.raises(NotStored):
        journal.append(LINE)


def test_two_journals_write_two_segments(journals: Any, tmp_path: Path) -> None:
    first, second = journals(), journals()
    first.append(LINE)
    second.append(LINE)
    assert len(segment_files(tmp_path)) == 2
    assert all(map(is_open, segment_files(tmp_path)))


def test_a_segment_is_rotated_by_size(journals: Any, tmp_path: Path) -> None:
    journal = journals(segment_bytes=4096, sync_milliseconds=10_000)
    for index in range(20):
        journal.append(b'"%d%b"\n' % (index, b"x" * 1000))
        time.sleep(0.02)
    until(lambda: len(segment_files(tmp_path)) > 2)
    assert len(lines(tmp_path)) == 20
    until(lambda: sum(map(is_open, segment_files(tmp_path))) == 1)


def test_an_idle_segment_is_rotated_by_age_and_an_empty_one_stays(journals: Any, tmp_path: Path) -> None:
    journal = journals(segment_seconds=1, sync_milliseconds=50)
    [empty] = segment_files(tmp_path)
    time.sleep(1.5)
    assert segment_files(tmp_path) == [empty]
    journal.append(LINE)
    until(lambda: len(segment_files(tmp_path)) == 2)
    until(lambda: not is_open(empty))
    assert lines(tmp_path) == [LINE[:-1]]


def test_a_journal_without_lines_leaves_no_segment(journals: Any, tmp_path: Path) -> None:
    journals().close()
    assert segment_files(tmp_path) == []


def test_many_threads_append_whole_lines(journals: Any, tmp_path: Path) -> None:
    journal = journals(segment_bytes=100_000, sync_milliseconds=1)

    def work(name: int) -> None:
        for index in range(500):
            journal.append(b"%d-%d-%b\n" % (name, index, b"x" * 200))

    threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines(tmp_path)
    assert len(found) == len(set(found)) == 2000
    assert {len(line.split(b"-")[2]) for line in found} == {200}


async def all_stored(journal: Journal, count: int) -> int:
    """Append lines and wait for all of them; how often somebody waited for the same sync."""
    waiting = [journal.append(LINE) for _ in range(count)]

    async def wait(stored: Any) -> None:
        await stored

    await asyncio.gather(*map(wait, waiting))
    return len({id(stored) for stored in waiting})


def test_strict_waits_for_the_disk_and_many_share_a_sync(journals: Any) -> None:
    journal = journals(durability="strict", sync_milliseconds=10_000)
    assert asyncio.run(all_stored(journal, 100)) < 100
    stored = journal.append(LINE)
    assert stored is not None
    stored.wait()


def test_who_gives_up_waiting_does_not_make_others_give_up(journals: Any) -> None:
    journal = journals(durability="strict")

    async def both() -> None:
        stored = journal.append(LINE)
        assert journal.append(LINE) is not None

        async def wait() -> None:
            await stored

        impatient, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await patient
        assert impatient.cancelled() or impatient.done()

    asyncio.run(both())


@pytest.mark.parametrize("size", [100, 50_000])
def test_a_full_disk_stores_whole_lines_or_none_and_recovers_by_itself(
    journals: Any, small_disk: Path, size: int
) -> None:
    statuses: list[JournalStatus] = []
    journal = Journal(small_disk, "houses", RecordsSettings(sync_milliseconds=10), statuses.append)
    journal.open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    line = b'"%b"\n' % (b"x" * size)
    stored = 0
    while journal.full is None:
        with suppress(NotStored):
            journal.append(line)
            stored += 1
    assert journal.full == "the disk for records is full"
    assert set(lines(small_disk)) == {line[:-1]}
    assert len(lines(small_disk)) == stored
    with pytest.raises(NotStored, match="the disk for records is full"):
        journal.append(line)
    # What is closed can be shipped and deleted, although there is no space for another.
    until(lambda: not any(map(is_open, segment_files(small_disk))))
    ballast.unlink()
    until(lambda: journal.full is None)
    journal.append(line)
    journal.close()
    assert len(lines(small_disk)) == stored + 1
    assert sum(status.appended for status in statuses) == stored + 1
    assert {status.is_full for status in statuses} == {True, False}


def test_a_service_that_starts_on_a_full_disk_waits_for_space(journals: Any, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 4_000_000)
    journal = journals(small_disk)
    with pytest.raises(NotStored):
        journal.append(LINE)
    ballast.unlink()
    until(lambda: journal.full is None)
    journal.append(LINE)


def test_no_more_waits_than_the_limit_of_all_processes(journals: Any, tmp_path: Path) -> None:
    first, second = (journals(max_bytes=2**20, sync_milliseconds=10) for _ in range(2))
    for _ in range(11):
        first.append(b"x" * 100_000 + b"\n")
    until(lambda: first.full == second.full == CAP_REACHED)
    with pytest.raises(NotStored, match="max_bytes"):
        second.append(LINE)
    until(lambda: not any(map(is_open, segment_files(tmp_path))))
    for path in segment_files(tmp_path):
        path.unlink()
    until(lambda: first.full is None and second.full is None)
    second.append(LINE)


def test_a_deleted_segment_is_noticed_and_another_begun(journals: Any, tmp_path: Path) -> None:
    journal = journals(sync_milliseconds=10)
    [path] = segment_files(tmp_path)
    path.unlink()
    until(lambda: segment_files(tmp_path))
    until(lambda: journal.full is None)
    journal.append(LINE)
    assert lines(tmp_path) == [LINE[:-1]]


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r"records\.directory"):
        Journal(tmp_path / "file", "houses", RecordsSettings()).open()


def test_what_a_killed_process_has_appended_is_there_and_its_segment_is_closed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from ml_microservice.records.journal import Journal
from ml_microservice.settings import RecordsSettings
journal = Journal(Path(sys.argv[1]), "houses", RecordsSettings(sync_milliseconds=10_000))
journal.open()
for index in range(1000):
    journal.append(b"%d\\n" % index)
print("done", flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        process.send_signal(signal.SIGKILL)
    assert lines(tmp_path) == [b"%d" % index for index in range(1000)]
    assert not is_open(segment_files(tmp_path)[0])


def test_what_killed_processes_did_not_finish_making_is_removed(journals: Any, tmp_path: Path) -> None:
    folder = segments_folder(tmp_path)
    folder.mkdir()
    old, new = folder / "a.jsonl.new", folder / "b.jsonl.new"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    journals()
    assert not old.exists()
    assert new.exists()
