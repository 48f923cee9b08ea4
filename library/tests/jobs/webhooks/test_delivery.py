"""Webhooks against real receivers, verified by the specification's own library."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks.webhooks import Webhook

from ml_microservice.database.engine import open_engine
from ml_microservice.database.revision import migrate
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.job import FinishedChunk, Job, NewChunk, NewJob
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.jobs.webhooks import request
from ml_microservice.jobs.webhooks.delivery import deliver_due, next_try, send
from ml_microservice.jobs.webhooks.message import message_id
from ml_microservice.jobs.webhooks.url import check_url, is_public
from ml_microservice.settings import Settings, load_settings
from tests.jobs.webhook_receiver import Receiver

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ATTEMPTS = 3


def settings_in(folder: Path, **more: str) -> Settings:
    """Of a project that sends webhooks."""
    (folder / "config.yaml").write_text("name: houses\n")
    variables = {"SERVICE__JOBS__WEBHOOK_KEY": KEY, "SERVICE__JOBS__WEBHOOK_ATTEMPTS": str(ATTEMPTS), **more}
    return load_settings(folder, variables)


@pytest.fixture
def strict(tmp_path: Path) -> Settings:
    """Only public addresses."""
    return settings_in(tmp_path)


@pytest.fixture
def lenient(tmp_path: Path) -> Settings:
    """Private addresses, too, where the tests' receivers are."""
    return settings_in(tmp_path, SERVICE__JOBS__PRIVATE_WEBHOOKS="true")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that speaks HTTP."""
    receiver = Receiver()
    yield receiver
    receiver.close()


class Clock:
    """Tells the moment, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    """Of the store."""
    return Clock()


@pytest.fixture
def store(lenient: Settings, clock: Clock) -> Iterator[JobStore]:
    """An empty one."""
    engine = open_engine(lenient)
    migrate(engine)
    store = JobStore(engine, lenient, clock)
    yield store
    store.close()


def job_id(number: int) -> str:
    """One that every database takes."""
    return f"00000000-0000-4000-8000-{number:012}"


def finished(store: JobStore, url: str, number: int = 1) -> Job:
    """A job that has just succeeded."""
    chunk = NewChunk(0, 0, 1, b"{}")
    store.insert([NewJob(job_id(number), "application/json", True, "digest", None, url, [chunk])])
    (claimed,) = store.claim([(job_id(number), 0)], "worker", redelivered=False).chunks
    store.finish([FinishedChunk(claimed.job_id, claimed.number, claimed.claim, 0, b"result")])
    job = store.job(job_id(number))
    assert job is not None
    return job


def resolving(monkeypatch: pytest.MonkeyPatch, answers: Callable[[], str]) -> None:
    """Let every name stand for the address that is answered next."""
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real(answers() if host == "receiver.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_webhook_is_verified_by_the_specifications_own_library(
    store: JobStore, lenient: Settings, receiver: Receiver
) -> None:
    job = finished(store, f"http://127.0.0.1:{receiver.port}/done?who=me#part")
    assert deliver_due(store, lenient, datetime.now(UTC)) == 1
    ((path, headers, body),) = receiver.received
    assert path == "/done?who=me"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["webhook-id"] == message_id(job)
    assert Webhook(KEY).verify(body, headers) == {
        "type": "job.succeeded",
        "timestamp": job.finished_at,
        "data": {
            "job_id": job.job_id,
            "state": "succeeded",
            "rows": 1,
            "rows_failed": 0,
            "finished_at": job.finished_at,
        },
    }
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(KEY).verify(body.replace(b"succeeded", b"cancelled"), headers)
    done = store.job(job.job_id)
    assert done is not None
    assert done.webhook_state == "delivered"
    assert deliver_due(store, lenient, datetime.now(UTC)) == 0


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(
    store: JobStore, lenient: Settings, receiver: Receiver, clock: Clock
) -> None:
    job = finished(store, f"http://127.0.0.1:{receiver.port}/")
    receiver.statuses = [500, 503]
    for tries in (1, 2, 3):
        assert deliver_due(store, lenient, clock()) == 1
        assert deliver_due(store, lenient, clock()) == 0, "not before its time"
        assert len(receiver.received) == tries
        clock.ahead += timedelta(hours=1)
    assert {headers["webhook-id"] for _, headers, _ in receiver.received} == {message_id(job)}
    done = store.job(job.job_id)
    assert done is not None
    assert (done.webhook_state, done.webhook_attempts) == ("delivered", 3)


def test_a_webhook_is_given_up_after_its_attempts(
    store: JobStore, lenient: Settings, receiver: Receiver, clock: Clock
) -> None:
    job = finished(store, f"http://127.0.0.1:{receiver.port}/")
    receiver.statuses = [500] * 10
    for _ in range(6):
        deliver_due(store, lenient, clock())
        clock.ahead += timedelta(hours=10)
    assert len(receiver.received) == ATTEMPTS
    done = store.job(job.job_id)
    assert done is not None
    assert done.webhook_state == "failed"


def test_a_job_that_is_retried_and_finishes_once_more_has_another_id(
    store: JobStore, lenient: Settings, receiver: Receiver, clock: Clock
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/"
    store.insert([NewJob(job_id(1), "application/json", True, "digest", None, url, [NewChunk(0, 0, 1, b"{}")])])
    (claimed,) = store.claim([(job_id(1), 0)], "worker", redelivered=False).chunks
    store.fail(claimed, {"type": "urn:problem-type:job-gave-up"})
    deliver_due(store, lenient, clock())
    clock.ahead += timedelta(seconds=1)
    store.retry(job_id(1))
    (claimed,) = store.claim([(job_id(1), 0)], "worker", redelivered=False).chunks
    store.finish([FinishedChunk(claimed.job_id, claimed.number, claimed.claim, 0, b"result")])
    deliver_due(store, lenient, clock())
    assert [json.loads(body)["type"] for *_, body in receiver.received] == ["job.failed", "job.succeeded"]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 2


def test_a_slow_receiver_holds_up_no_others(store: JobStore, lenient: Settings, receiver: Receiver) -> None:
    slow = Receiver()
    slow.seconds = 1.5
    for number in range(8):
        finished(store, f"http://127.0.0.1:{slow.port}/", number)
        finished(store, f"http://127.0.0.1:{receiver.port}/", 100 + number)
    began = time.monotonic()
    assert deliver_due(store, lenient, datetime.now(UTC)) == 16
    seconds = time.monotonic() - began
    slow.close()
    assert len(slow.received) == len(receiver.received) == 8
    assert seconds < 8 * slow.seconds / 2, "not one after the other"


def test_a_receiver_that_does_not_answer_is_left(
    store: JobStore, lenient: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "SECONDS", 0.3)
    receiver.seconds = 1
    assert not send(finished(store, f"http://127.0.0.1:{receiver.port}/"), lenient)


def test_redirects_are_not_followed(store: JobStore, lenient: Settings, receiver: Receiver) -> None:
    inner = Receiver()
    receiver.statuses, receiver.headers = [307], {"Location": f"http://127.0.0.1:{inner.port}/secret"}
    assert not send(finished(store, f"http://127.0.0.1:{receiver.port}/"), lenient)
    inner.close()
    assert inner.received == []


def test_tls_is_verified_for_the_name_in_the_url(
    store: JobStore, lenient: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = trustme.CA()
    secure, other = Receiver(ca, "receiver.example"), Receiver(ca, "another.example")
    resolving(monkeypatch, lambda: "127.0.0.1")
    assert not send(finished(store, f"https://receiver.example:{secure.port}/", 1), lenient), "an unknown authority"
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert send(finished(store, f"https://receiver.example:{secure.port}/", 2), lenient)
    assert not send(finished(store, f"https://receiver.example:{other.port}/", 3), lenient), "another's certificate"
    secure.close()
    other.close()
    assert len(secure.received) == 1
    assert other.received == []


def test_a_name_that_is_public_when_given_and_private_when_used_is_not_connected_to(
    store: JobStore, strict: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    resolving(monkeypatch, lambda: next(answers))
    url = f"http://receiver.example:{receiver.port}/"
    check_url(url, strict)
    assert not send(finished(store, url), strict)
    assert receiver.received == []


def test_the_name_is_asked_for_once_and_the_address_that_was_checked_is_used(
    store: JobStore, lenient: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    resolving(monkeypatch, lambda: asked.append(1) or "127.0.0.1")  # type: ignore[func-returns-value]
    assert send(finished(store, f"http://receiver.example:{receiver.port}/"), lenient)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com/", "https://"),
        ("/finished", "https://"),
        ("https://user:secret@example.com/", "credentials"),
        ("https:///finished", "no host"),
        ("https://example.com/a b", "printable"),
        ("https://example.com/\r\nX-Api-Key: 1", "printable"),
        ("https://example.com:99999/", "[Pp]ort"),
        ("https://[::1", "IPv6"),
        ("https://a..b/", "no name"),
        ("https://example.com/" + "a" * 3000, "2048"),
        ("http://localhost/", "private_webhooks"),
        ("http://127.0.0.1/", "private_webhooks"),
        ("http://2130706433/", "private_webhooks"),
        ("http://0x7f.1/", "private_webhooks"),
        ("http://[::ffff:10.0.0.1]/", "private_webhooks"),
        ("http://169.254.169.254/latest/meta-data", "private_webhooks"),
        ("http://0.0.0.0/", "private_webhooks"),
    ],
)
def test_a_url_that_no_webhook_may_go_to_is_refused_with_advice(strict: Settings, url: str, words: str) -> None:
    with pytest.raises(Problem) as refused:
        check_url(url, strict)
    assert refused.value.status == 422
    assert re.search(words, refused.value.detail)
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_told_from_others(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_private_addresses_are_told_however_they_are_written(address: str) -> None:
    assert not is_public(address)


def test_without_a_key_no_webhook_is_taken(tmp_path: Path) -> None:
    unsigned = load_settings(settings_in(tmp_path).root, {})
    with pytest.raises(Problem) as refused:
        check_url("https://example.com/", unsigned)
    assert "SERVICE__JOBS__WEBHOOK_KEY" in refused.value.detail


def test_intervals_grow_and_end() -> None:
    intervals = [next_try(attempts, 50) for attempts in range(1, 50)]
    minutes = [interval.total_seconds() / 60 for interval in intervals if interval is not None]
    assert len(minutes) == 49
    assert all(earlier * 2 < later for earlier, later in pairwise(minutes[:7]))
    assert max(minutes) < 8 * 60
    assert next_try(50, 50) is None
