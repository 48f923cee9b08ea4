"""Who has a chunk, and who has it no longer."""

import pytest

from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.store.job_store import JobStore
from ml_microservice.settings import Settings
from tests.jobs.stored_jobs import Clock, claim, finished, open_store, stored


def test_a_chunk_is_given_to_one_worker_only(store: JobStore) -> None:
    job_id = stored(store)
    assert len(store.claim([(job_id, 0), (job_id, 0)], "a", redelivered=False).chunks) == 1
    assert claim(store, job_id, 0, worker="b") == claim(store, job_id, 1)  # nothing, as for one that there is not
    assert [(chunk.worker, chunk.attempts) for chunk in store.running(5)] == [("a", 1)]


def test_a_chunk_whose_lease_has_passed_can_be_taken_over_and_the_first_cannot_finish_it(
    store: JobStore, clock: Clock
) -> None:
    job_id = stored(store)
    (first,) = claim(store, job_id, 0).chunks
    clock.advance(20)
    assert store.renew([first.claim]) == {first.claim}
    clock.advance(20)
    assert not claim(store, job_id, 0).chunks  # it was renewed
    clock.advance(20)
    (second,) = claim(store, job_id, 0).chunks
    assert second.attempts == 2
    assert store.renew([first.claim, second.claim]) == {second.claim}
    assert store.finish([finished(first)]) == set()
    store.fail(first, {"type": "x"})
    store.release([first])
    store.retry_later(first)
    assert store.finish([finished(second)]) == {(job_id, 0)}
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.attempts) == ("succeeded", 2)


def test_a_chunk_whose_message_the_broker_gives_out_again_can_be_taken_over_at_once(store: JobStore) -> None:
    job_id = stored(store)
    (first,) = claim(store, job_id, 0).chunks
    assert claim(store, job_id, 0, redelivered=True).chunks
    assert store.renew([first.claim]) == set()


def test_finishing_again_because_no_answer_came_counts_once(store: JobStore) -> None:
    job_id = stored(store, 2)
    (chunk,) = claim(store, job_id, 0).chunks
    assert store.finish([finished(chunk)]) == store.finish([finished(chunk)]) == {(job_id, 0)}
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.chunks_done) == ("running", 1)


def test_a_chunk_that_was_begun_too_often_fails_its_job(store: JobStore, clock: Clock) -> None:
    job_id, other = stored(store, 2), stored(store)
    for attempt in (1, 2, 3):
        (chunk,) = claim(store, job_id, 1, redelivered=True).chunks
        assert chunk.attempts == attempt
    clock.advance(60)
    claimed = store.claim([(job_id, 1), (other, 0), (job_id, 0)], "w", redelivered=False)
    assert claimed.gave_up == [(job_id, 1)]
    job = store.job(job_id)
    assert job is not None
    assert job.problem is not None
    assert (job.state, job.problem["type"], job.problem["status"]) == ("failed", "urn:problem-type:job-gave-up", 500)
    assert "rows 10 to 19" in job.problem["detail"]
    assert [chunk.job_id for chunk in claimed.chunks if store.renew([chunk.claim])] == [other]
    assert store.statistics().dead_letters == 1


def test_release_costs_no_attempt_and_retry_later_does(store: JobStore) -> None:
    job_id = stored(store)
    for _ in range(5):
        (chunk,) = claim(store, job_id, 0).chunks
        assert chunk.attempts == 1
        store.release([chunk])
    for attempt in (1, 2, 3):
        (chunk,) = claim(store, job_id, 0).chunks
        assert chunk.attempts == attempt
        store.retry_later(chunk)
    assert claim(store, job_id, 0).gave_up == [(job_id, 0)]


def test_what_cannot_be_sent_is_given_out_to_be_sent_and_to_one_only(store: JobStore) -> None:
    small, large = stored(store), stored(store, 2)
    store.unpublished([(small, 0), (large, 1)])
    found = store.to_publish(queue_is_empty=False, limit=10)
    assert sorted(found) == sorted([((small, 0), False), ((large, 1), True)])
    assert store.to_publish(queue_is_empty=True, limit=10) == []


def test_a_message_counts_as_lost_soon_where_the_queue_is_empty_and_else_after_minutes(
    store: JobStore, clock: Clock
) -> None:
    job_id = stored(store)
    clock.advance(4)
    assert store.to_publish(queue_is_empty=True, limit=10) == []
    clock.advance(2)
    assert store.to_publish(queue_is_empty=False, limit=10) == []
    assert store.to_publish(queue_is_empty=True, limit=10) == [((job_id, 0), False)]
    clock.advance(200)
    store.published([(job_id, 0)])
    clock.advance(200)
    assert store.to_publish(queue_is_empty=False, limit=10) == []
    clock.advance(101)
    assert store.to_publish(queue_is_empty=False, limit=10) == [((job_id, 0), False)]


def test_a_chunk_whose_worker_has_gone_is_to_be_sent_at_once(store: JobStore, clock: Clock) -> None:
    job_id = stored(store)
    (chunk,) = claim(store, job_id, 0).chunks
    assert store.to_publish(queue_is_empty=True, limit=10) == []
    clock.advance(31)
    assert store.to_publish(queue_is_empty=False, limit=10) == [((job_id, 0), False)]
    assert store.renew([chunk.claim]) == set()
    assert claim(store, job_id, 0).chunks[0].attempts == 2


def test_no_more_is_given_out_than_was_asked_for(store: JobStore) -> None:
    job_id = stored(store, 30)
    store.unpublished([(job_id, number) for number in range(30)])
    batches = [store.to_publish(queue_is_empty=False, limit=12) for _ in range(4)]
    assert [len(batch) for batch in batches] == [12, 12, 6, 0]
    assert len({ref for batch in batches for ref, _ in batch}) == 30


def test_a_webhook_is_due_when_its_job_ends_and_is_given_out_to_one_only(store: JobStore, clock: Clock) -> None:
    url = "https://example.com/hook"
    done, failed, cancelled, silent = (stored(store, webhook=url) for _ in range(4))
    store.finish([finished(chunk) for chunk in claim(store, done, 0).chunks])
    store.fail(claim(store, failed, 0).chunks[0], {"type": "x"})
    store.cancel(cancelled)
    store.cancel(stored(store))  # which has none
    assert {job.job_id for job in store.webhooks_due(10)} == {done, failed, cancelled}
    assert store.webhooks_due(10) == []
    store.webhook_done(done, True, None)
    store.webhook_done(failed, False, None)
    later = clock.now.replace(hour=13)
    store.webhook_done(cancelled, False, later)
    clock.advance(3599)
    assert store.webhooks_due(10) == []
    clock.advance(1)
    (due,) = store.webhooks_due(10)
    assert (due.job_id, due.webhook_attempts, due.webhook_state) == (cancelled, 1, "pending")
    states = [job.webhook_state for job in store.progress([done, failed, silent]).values()]
    assert sorted(states, key=str) == ["delivered", "failed", "pending"]


def test_a_webhook_whose_sender_died_is_due_again(store: JobStore, clock: Clock) -> None:
    job_id = stored(store, webhook="https://example.com")
    store.cancel(job_id)
    assert store.webhooks_due(10)
    clock.advance(121)
    assert [job.job_id for job in store.webhooks_due(10)] == [job_id]


def test_the_statistics_tell_how_the_queue_is_doing(store: JobStore, clock: Clock) -> None:
    assert store.statistics().oldest_queued_seconds == 0
    waiting, large, done = stored(store), stored(store, 3), stored(store)
    clock.advance(50)
    stored(store)
    claim(store, large, 0)
    claim(store, large, 0, redelivered=True)
    store.finish([finished(chunk) for chunk in claim(store, done, 0).chunks])
    clock.advance(10)
    told = store.statistics()
    assert dict(told.jobs) == {"queued": 2, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0}
    assert (told.chunks_queued, told.chunks_running, told.retries) == (4, 1, 1)
    assert told.oldest_queued_seconds == 60
    assert store.queued() == 4
    assert (store.activity(60).jobs, store.activity(60).rows, store.activity(5).rows) == (1, 10, 0)
    assert waiting


def test_a_lost_database_is_said_in_words(database_settings: Settings, clock: Clock) -> None:
    store = open_store(database_settings, clock)
    with store._writing() as connection:
        connection.exec_driver_sql("DROP TABLE job_chunks")
    with pytest.raises(DatabaseError, match="job_chunks"):
        store.statistics()
