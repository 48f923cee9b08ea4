"""Records arrive at a receiver of the Forward protocol whatever it does, and never without its acknowledgement."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from ml_microservice.records.documents import document
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.sinks.fluentd import FluentdSink
from ml_microservice.records.sinks.sink import Refused, SinkDown
from ml_microservice.settings import FluentdSettings
from tests.records.sinks.conftest import Receiver

KEY = "correct horse battery staple"


@pytest.fixture
def sink_to(tmp_path: Path) -> Iterator[Callable[..., FluentdSink]]:
    """Makes sinks that send to a receiver."""
    sinks = []

    def make(receiver: Receiver, **settings: Any) -> FluentdSink:
        where = {"port": receiver.port, "timeout_seconds": 0.5, **settings}
        sinks.append(FluentdSink(FluentdSettings.model_validate(where), tmp_path, "houses"))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def prediction(number: int, **changed: Any) -> PredictionRecord:
    fields = {
        "prediction_id": f"00000000-0000-4000-8000-{number:012d}",
        "time": f"2026-11-21T06:{number // 60 % 60:02d}:{number % 60:02d}.250Z",
        "route": "predict",
        "model_version": "20261121-035331-18a0ae",
        "model_id": "m1",
        "entity_id": f"h{number}",
        "inputs": {"floor area": 120.5, "a.b": number, "view": [0.5, 1.0], "colour": None},
        "prediction": "yes",
        "probabilities": {"yes": 0.75, "no": 0.25},
        "latency_ms": 1.5,
    }
    return PredictionRecord(**{**fields, **changed})


def feedback(number: int) -> FeedbackRecord:
    identity = f"00000000-0000-4000-9000-{number:012d}"
    return FeedbackRecord(identity, prediction(number).id, "no", None, "survey", "2026-11-21T07:00:00.001Z")


def ship(sink: FluentdSink, records: Sequence[Record], batch: int = 50, patience: float = 30) -> list[str]:
    """Send every record as a shipper does, batch by batch and each until it is stored; what went wrong on the way."""
    wrong = []
    deadline = time.monotonic() + patience
    for start in range(0, len(records), batch):
        while True:
            try:
                sink.send(records[start : start + batch])
                break
            except SinkDown as error:
                wrong.append(str(error))
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    return wrong


def assert_nothing_is_lost(receiver: Receiver, records: Sequence[Record]) -> None:
    """All records are there, and what is there twice is the same both times."""
    stored: dict[str, Any] = {}
    for event in receiver.events():
        identity = event["record"].get("feedback_id") or event["record"]["prediction_id"]
        assert stored.setdefault(identity, event["record"]) == event["record"]
    assert stored == {record.id: document(record) for record in records}


def test_records_arrive_once_with_their_tags_times_and_values(receiver: Receiver, sink_to: Any) -> None:
    records: list[Record] = [prediction(1), feedback(1), prediction(2)]
    sink_to(receiver.start()).send(records)
    events = receiver.events()
    assert [event["tag"] for event in events] == ["houses.predict", "houses.predict", "houses.feedback"]
    assert [event["record"] for event in events] == [document(records[index]) for index in (0, 2, 1)]
    assert events[0]["time"] == 1795240801.25
    assert events[0]["record"] == {
        "@timestamp": "2026-11-21T06:00:01.250Z",
        "prediction_id": "00000000-0000-4000-8000-000000000001",
        "entity_id": "h1",
        "model_version": "20261121-035331-18a0ae",
        "model_id": "m1",
        "route": "predict",
        "prediction": "yes",
        "confidence": 0.75,
        "probabilities.yes": 0.75,
        "probabilities.no": 0.25,
        "inputs.floor area": 120.5,
        "inputs.a.b": 1,
        "inputs.view": [0.5, 1.0],
        "inputs.colour": None,
        "latency_ms": 1.5,
    }


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("ok,ok,wrong", "acknowledged something else"),
        ("ok,ok,close", "closed the connection instead of an acknowledgement"),
        ("ok,ok,cut", "closed the connection|broke the connection"),
        ("ok,ok,silent", "did not send an acknowledgement within 0.5 s"),
        ("wrong,cut,ok,silent,close,slow,ok", ""),
    ],
)
def test_nothing_is_lost_to_a_receiver_that_misbehaves(
    receiver: Receiver, sink_to: Any, behaviour: str, words: str
) -> None:
    records = [record for number in range(100) for record in (prediction(number), feedback(number))]
    wrong = ship(sink_to(receiver.start("--behaviour", behaviour)), records)
    assert wrong
    assert any(re.search(words, one) for one in wrong)
    assert_nothing_is_lost(receiver, records)


def test_nothing_is_lost_when_the_receiver_is_killed_and_started_again(receiver: Receiver, sink_to: Any) -> None:
    records = [prediction(number) for number in range(4000)]
    sink = sink_to(receiver.start("--behaviour", "ok,ok,ok,slow", "--delay", "0.05"))
    wrong: list[str] = []
    shipping = threading.Thread(target=lambda: wrong.extend(ship(sink, records)))
    shipping.start()
    for _ in range(4):
        time.sleep(0.3)
        receiver.kill()
        time.sleep(0.2)
        receiver.start("--behaviour", "ok,ok,ok,slow", "--delay", "0.05")
    shipping.join()
    assert wrong
    assert_nothing_is_lost(receiver, records)


def test_a_slow_receiver_is_waited_for_within_the_timeout(receiver: Receiver, sink_to: Any) -> None:
    records = [prediction(number) for number in range(20)]
    sink = sink_to(receiver.start("--behaviour", "slow", "--delay", "0.3"), timeout_seconds=5)
    assert ship(sink, records, batch=10) == []
    assert len(receiver.events()) == 20


def test_a_connection_that_the_receiver_closed_meanwhile_is_made_anew(receiver: Receiver, sink_to: Any) -> None:
    sink = sink_to(receiver.start("--behaviour", "leave"))
    for number in range(3):
        sink.send([prediction(number)])
        time.sleep(0.05)
    assert len(receiver.events()) == 3


def test_a_large_batch_goes_in_several_messages_each_of_which_is_acknowledged(receiver: Receiver, sink_to: Any) -> None:
    records = [prediction(number, inputs={"text": "x" * 300_000}) for number in range(10)]
    sink_to(receiver.start()).send(records)
    assert len({event["chunk"] for event in receiver.events()}) == 4
    assert_nothing_is_lost(receiver, records)


def test_a_record_that_the_protocol_cannot_carry_is_refused_and_the_others_are_stored(
    receiver: Receiver, sink_to: Any
) -> None:
    good = [prediction(0), prediction(2, entity_id=2**70)]
    with pytest.raises(Refused) as refused:
        sink_to(receiver.start()).send([good[0], prediction(1, inputs={"class": 2**70}), good[1]])
    assert list(refused.value.reasons) == [1]
    assert_nothing_is_lost(receiver, good)


def test_no_receiver_is_said_and_survived(receiver: Receiver, sink_to: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        receiver.port = free.getsockname()[1]
    sink = sink_to(receiver)
    with pytest.raises(SinkDown, match=f"no connection to 127.0.0.1:{receiver.port}"):
        sink.send([prediction(1)])
    receiver.start()
    sink.send([prediction(1)])


def test_the_shared_key_is_proved_by_both_sides(receiver: Receiver, sink_to: Any) -> None:
    sink = sink_to(receiver.start("--shared-key", KEY), shared_key=KEY)
    sink.send([prediction(1)])
    sink.send([prediction(2)])
    assert_nothing_is_lost(receiver, [prediction(1), prediction(2)])


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        (
            ["--shared-key", KEY],
            "guess",
            r"refuses the shared key \(shared_key mismatch\): is SERVICE__FLUENTD__SHARED_KEY",
        ),
        (["--shared-key", KEY], None, "asks for a shared key: set SERVICE__FLUENTD__SHARED_KEY"),
        (["--shared-key", KEY, "--user-auth"], KEY, "asks for a user and a password: set user_auth to false"),
        (["--shared-key", KEY, "--impostor"], KEY, "does not know the shared key itself"),
        ([], KEY, "did not send its HELO: has it a <security> section"),
    ],
)
def test_sides_that_disagree_on_the_key_say_so_and_nothing_is_sent(
    receiver: Receiver, sink_to: Any, options: list[str], key: str | None, words: str
) -> None:
    sink = sink_to(receiver.start(*options), shared_key=key)
    with pytest.raises(SinkDown, match=words) as raised:
        sink.send([prediction(1)])
    assert KEY not in str(raised.value)
    assert receiver.events() == []
    receiver.kill()
    receiver.start(*(["--shared-key", key] if key else []))
    sink.send([prediction(1)])
    assert_nothing_is_lost(receiver, [prediction(1)])


def certificate(folder: Path, ca: trustme.CA, host: str) -> list[str]:
    """A certificate for a host, as options of the receiver; the authority's is in ca.pem."""
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued = ca.issue_cert(host)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    return ["--certificate", str(folder / "certificate.pem"), "--key", str(folder / "key.pem")]


def test_records_go_through_tls_to_a_certificate_of_the_given_authority(
    receiver: Receiver, sink_to: Any, tmp_path: Path
) -> None:
    options = certificate(tmp_path, trustme.CA(), "127.0.0.1")
    records = [prediction(number) for number in range(200)]
    sink = sink_to(receiver.start(*options, "--shared-key", KEY), tls=True, ca_file="ca.pem", shared_key=KEY)
    assert ship(sink, records) == []
    assert_nothing_is_lost(receiver, records)


def test_a_certificate_that_cannot_be_verified_is_refused(receiver: Receiver, sink_to: Any, tmp_path: Path) -> None:
    receiver.start(*certificate(tmp_path, trustme.CA(), "127.0.0.1"))
    with pytest.raises(SinkDown, match=r"is not trusted: .*local issuer certificate"):
        sink_to(receiver, tls=True).send([prediction(1)])
    with pytest.raises(SinkDown, match=r"is not trusted: .*(localhost|match)"):
        sink_to(receiver, tls=True, ca_file="ca.pem", host="localhost").send([prediction(1)])
    with pytest.raises(SinkDown, match=r"fluentd.ca_file cannot be read"):
        sink_to(receiver, tls=True, ca_file="nowhere.pem").send([prediction(1)])
    assert receiver.events() == []


def test_a_receiver_without_tls_is_not_spoken_to_in_the_clear(receiver: Receiver, sink_to: Any) -> None:
    receiver.start("--behaviour", "cut")
    with pytest.raises(SinkDown, match="no TLS with"):
        sink_to(receiver, tls=True).send([prediction(1)])
