"""Jobs from their insertion to their deletion, on SQLite and PostgreSQL."""

import pytest

from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.job import ResultChunk
from ml_microservice.jobs.store.job_store import JobStore
from tests.jobs.stored_jobs import ROWS, Clock, claim, finished, new_job, run, stored


def test_a_job_is_queued_then_running_then_succeeded(store: JobStore, clock: Clock) -> None:
    job_id = stored(store, 2)
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.rows, job.chunks, job.rows_done, job.attempts) == ("queued", 2 * ROWS, 2, 0, 0)
    assert (job.created_at, job.started_at) == ("2026-01-31T12:00:00.000+00:00", None)
    clock.advance(1)
    first, second = claim(store, job_id, 0, 1).chunks
    assert (first.body, first.first_row, second.first_row, first.attempts) == (b"body \x00 0", 0, ROWS, 1)
    assert (first.media_type, first.is_single) == ("application/json", False)
    clock.advance(1)
    store.finish([finished(first, rows_failed=3)])
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.rows_done, job.rows_failed, job.chunks_done) == ("running", ROWS, 3, 1)
    assert (job.started_at, job.finished_at) == ("2026-01-31T12:00:01.000+00:00", None)
    store.finish([finished(second)])
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.rows_done, job.rows_failed, job.chunks_done) == ("succeeded", 2 * ROWS, 3, 2)
    assert (job.finished_at, job.expires_at) == ("2026-01-31T12:00:02.000+00:00", "2026-02-07T12:00:02.000+00:00")
    assert job.is_finished


def test_an_unknown_job_is_none(store: JobStore) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    assert store.job(unknown) is None
    assert store.cancel(unknown) is None
    assert not claim(store, unknown, 0).chunks
    assert store.result_chunks(unknown, 0, 10) == []
    assert store.progress([]) == {}


def test_results_are_found_by_the_rows_that_they_hold(store: JobStore) -> None:
    job_id = stored(store, 4)
    run(store, job_id, 0, 1, 3)
    assert store.result_chunks(job_id, 5, 2) == [ResultChunk(0, 0, ROWS, b"result \x00 0")]
    assert [chunk.number for chunk in store.result_chunks(job_id, ROWS - 1, 2)] == [0, 1]
    assert [chunk.number for chunk in store.result_chunks(job_id, ROWS, ROWS)] == [1]
    assert [chunk.number for chunk in store.result_chunks(job_id, 0, 4 * ROWS)] == [0, 1, 3]  # 2 is not finished


def test_a_repeated_key_is_the_job_that_has_it(store: JobStore) -> None:
    first, again, other = new_job(key="k"), new_job(key="k"), new_job(key="k", digest="other")
    assert [found.is_new for found in store.insert([first])] == [True]
    one, two, three = store.insert([again, other, new_job(key="another")])
    assert (one.job_id, one.is_new, one.same_digest) == (first.job_id, False, True)
    assert (two.job_id, two.is_new, two.same_digest) == (first.job_id, False, False)
    assert three.is_new
    assert store.queued() == 2


def test_a_key_that_comes_twice_at_a_time_is_one_job(store: JobStore) -> None:
    first, again = new_job(key="k"), new_job(key="k")
    one, two = store.insert([first, again])
    assert (one.is_new, two.is_new, two.job_id) == (True, False, first.job_id)


def test_a_job_that_is_stored_again_because_no_answer_came_is_one_job(store: JobStore) -> None:
    jobs = [new_job(), new_job(2, key="k")]
    assert store.insert(jobs) == store.insert(jobs)
    assert store.queued() == 3


def test_a_job_without_rows_to_predict_is_refused(store: JobStore) -> None:
    with pytest.raises(ValueError, match="at least one chunk"):
        store.insert([new_job(0)])


def test_hundreds_of_jobs_are_stored_claimed_and_finished_at_a_time(store: JobStore) -> None:
    jobs = [new_job() for _ in range(700)]
    assert all(found.is_new for found in store.insert(jobs))
    claimed = store.claim([(job.job_id, 0) for job in jobs], "w", redelivered=False).chunks
    assert len(store.finish([finished(chunk) for chunk in claimed])) == 700
    assert store.statistics().jobs["succeeded"] == 700


def test_cancel_stops_what_has_not_begun_and_takes_its_claim_from_what_has(store: JobStore) -> None:
    job_id = stored(store, 3)
    run(store, job_id, 0)
    (begun,) = claim(store, job_id, 1).chunks
    job = store.cancel(job_id)
    assert job is not None
    assert (job.state, job.rows_done, job.finished_at is not None) == ("cancelled", ROWS, True)
    assert store.renew([begun.claim]) == set()
    assert store.finish([finished(begun)]) == set()
    assert not claim(store, job_id, 1, 2, redelivered=True).chunks
    assert store.queued() == 0
    assert store.job(job_id) == job


def test_cancelling_a_finished_job_changes_nothing(store: JobStore) -> None:
    job_id = stored(store)
    run(store, job_id, 0)
    before = store.job(job_id)
    assert store.cancel(job_id) == before


def test_a_chunk_that_fails_stops_the_others_and_says_why(store: JobStore) -> None:
    job_id = stored(store, 3)
    bad, other = claim(store, job_id, 0, 1).chunks
    store.fail(bad, {"type": "urn:problem-type:x", "status": 422})
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.problem) == ("failed", {"type": "urn:problem-type:x", "status": 422})
    assert store.finish([finished(other)]) == set()
    assert store.queued() == 0
    store.fail(other, {"type": "later"})
    assert store.job(job_id) == job


def test_a_failed_job_that_is_retried_runs_what_was_not_finished(store: JobStore) -> None:
    job_id = stored(store, 3, webhook="https://example.com")
    run(store, job_id, 1)
    store.fail(claim(store, job_id, 0).chunks[0], {"type": "x"})
    assert store.retry(job_id) == [(job_id, 0), (job_id, 2)]
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.problem, job.finished_at, job.expires_at, job.webhook_at) == ("queued", *[None] * 4)
    claimed = claim(store, job_id, 0, 1, 2).chunks
    assert [(chunk.number, chunk.attempts, chunk.body) for chunk in claimed] == [
        (0, 1, b"body \x00 0"),
        (2, 1, b"body \x00 2"),
    ]
    store.finish([finished(chunk) for chunk in claimed])
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.rows_done) == ("succeeded", 3 * ROWS)


def test_only_a_failed_job_is_retried_or_dropped(store: JobStore) -> None:
    job_id = stored(store)
    for act in (store.retry, store.drop):
        with pytest.raises(DatabaseError, match=r"no job .* that has failed"):
            act(job_id)
    store.fail(claim(store, job_id, 0).chunks[0], {"type": "x"})
    store.drop(job_id)
    assert store.job(job_id) is None


def test_a_job_expires_with_its_chunks_some_days_after_it_has_finished(store: JobStore, clock: Clock) -> None:
    done, cancelled, waiting = stored(store), stored(store, 2), stored(store)
    run(store, done, 0)
    clock.advance(3600)
    store.cancel(cancelled)
    clock.advance(7 * 86_400 - 3600 - 1)
    assert store.expire() == []
    clock.advance(1)
    assert store.expire() == [done]
    assert store.result_chunks(done, 0, ROWS) == []
    clock.advance(3600)
    assert store.expire() == [cancelled]
    assert store.expire() == []
    assert store.job(waiting) is not None


def test_pages_hold_every_job_once_while_jobs_are_added(store: JobStore, clock: Clock) -> None:
    there = []
    for index in range(25):
        clock.advance(index % 3)  # some at the same moment
        there.append(stored(store))
    seen: list[str] = []
    before = None
    while page := store.jobs(None, before, 4):
        seen += [job.job_id for job in page]
        before = (page[-1].created_at, page[-1].job_id)
        clock.advance(1)
        stored(store)
    assert sorted(seen) == sorted(there)
    moments = [job.created_at for job in store.jobs(None, None, 100)]
    assert moments == sorted(moments, reverse=True)


def test_pages_are_of_one_state_if_that_is_asked_for(store: JobStore) -> None:
    ids = [stored(store) for _ in range(4)]
    run(store, ids[0], 0)
    store.cancel(ids[1])
    assert [job.job_id for job in store.jobs("succeeded", None, 10)] == [ids[0]]
    assert [job.job_id for job in store.jobs("cancelled", None, 10)] == [ids[1]]
    assert {job.job_id for job in store.jobs("queued", None, 10)} == set(ids[2:])
    assert store.jobs("failed", None, 10) == []
