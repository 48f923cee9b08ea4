"""The whole, from clients to the database: every prediction is accounted for, whatever is killed or torn."""

import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from ml_microservice.records.database.store import open_store
from ml_microservice.records.positions import load_position, position_file
from ml_microservice.records.record import Record
from ml_microservice.records.segment import FORMAT, segment_files
from ml_microservice.records.status import Status, StatusReader
from ml_microservice.settings import load_settings
from tests.records.callers import assert_accounted_for, calling
from tests.records.lag import is_shipped
from tests.records.serving import Service, serving, until

pytestmark = pytest.mark.slow

CLIENTS, REQUESTS, KILLS = 8, 10_000, 4
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def stored(project: Path, **variables: str) -> list[Record]:
    """All that the database has."""
    with open_store(load_settings(project, variables)) as store:
        return list(store.records(*ALWAYS))


def status(project: Path) -> Status:
    """How far shipping is."""
    return StatusReader(project / "var/records", "houses", ["database"], is_exact=True).read()


def shipped(project: Path) -> int:
    """Records that the database has taken, repetitions included."""
    return load_position(position_file(project / "var/records", "database")).shipped


def run_until_taken(service: Service) -> None:
    """Have the service ship until nothing waits, and end it."""
    until(lambda: is_shipped(status(service.project)))
    service.stop()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_answer_of_a_service_killed_again_and_again_is_in_the_database_once(
    project: Path, request: pytest.FixtureRequest, database: str
) -> None:
    variables = {"SERVICE__RECORDS__SEGMENT_BYTES": "300000"}
    if database == "postgresql":
        variables["SERVICE__DATABASE__URL"] = request.getfixturevalue("postgresql").new_database()
    with serving(project, **variables) as service, calling(service.port, CLIENTS) as callers:
        for round_ in range(KILLS):
            before = callers.requests, shipped(project)
            # Every other time while the database takes records, otherwise perhaps before the first of them.
            until(lambda before=before: callers.requests > before[0] + 300)  # type: ignore[misc]
            if round_ % 2 == 0:
                until(lambda before=before: shipped(project) > before[1])  # type: ignore[misc]
            time.sleep(random.uniform(0, 0.5))
            service.kill()
            service.start()
        until(lambda: callers.requests >= REQUESTS)
        callers.end()
        run_until_taken(service)
    assert_accounted_for(callers, stored(project, **variables))
    assert callers.unanswered
    assert callers.feedback
    assert segment_files(project / "var/records") == []
    assert [path.name for path in (project / "var/records").rglob("*.jsonl")] == [], "dead letters, or quarantine"


def test_a_torn_segment_and_one_of_another_version_disturb_nothing(project: Path) -> None:
    directory = project / "var/records"
    with serving(project) as service, calling(service.port, 2) as callers:
        until(lambda: callers.requests > 300)
        service.kill()
        torn = max(segment_files(directory), key=lambda path: path.stat().st_size)
        lines = torn.read_bytes().splitlines(keepends=True)
        with torn.open("ab") as file:
            file.write(lines[-1][:100])
        foreign = [directory / "segments" / f"{year}0101T000000.000000Z-00000000.jsonl" for year in (2000, 3000)]
        for path in foreign:
            path.write_bytes(of_another_version(lines))
        before = foreign[0].read_bytes(), foreign[1].read_bytes()
        service.start()
        until(lambda more=callers.requests + 300: callers.requests > more)  # type: ignore[misc]
        callers.end()
        run_until_taken(service)
        told = json.loads(service.command("records", "status", "--json"))
    assert_accounted_for(callers, stored(project))
    assert segment_files(directory) == foreign
    assert (foreign[0].read_bytes(), foreign[1].read_bytes()) == before
    assert told["foreign_segments"] == [path.name for path in foreign]
    assert (told["torn_bytes"], told["quarantined"]) == (100, 0)


def of_another_version(lines: Sequence[bytes]) -> bytes:
    """A segment with a prediction that only another version may ship."""
    header = {**json.loads(lines[0]), "format": FORMAT + 1}
    line = {**json.loads(next(line for line in lines if b'"id":' in line)), "id": str(uuid4()), "entity_id": "foreign"}
    return f"{json.dumps(header)}\n{json.dumps(line)}\n".encode()
