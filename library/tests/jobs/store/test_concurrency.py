"""What several do at the same time, on SQLite and PostgreSQL."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from threading import Barrier

from ml_microservice.errors import DatabaseError
from ml_microservice.jobs.job import ClaimedChunk, Inserted
from ml_microservice.jobs.store.job_store import JobStore
from tests.jobs.stored_jobs import ROWS, at_once, claim, finished, new_job, stored

WORKERS = 6


def test_workers_never_have_the_same_chunk(store: JobStore) -> None:
    refs = [(stored(store), 0) for _ in range(30)] + [(stored(store, 30), number) for number in range(30)]
    large = refs[-1][0]
    refs = refs[:30] + [(large, number) for number in range(30)]
    claimed: list[tuple[str, int]] = []
    barrier = Barrier(WORKERS)

    def work(seed: int) -> None:
        mine = random.Random(seed).sample(refs, len(refs))
        barrier.wait()
        for start in range(0, len(mine), 7):
            chunks = store.claim(mine[start : start + 7], f"w{seed}", redelivered=False).chunks
            claimed.extend((chunk.job_id, chunk.number) for chunk in chunks)

    at_once(work, range(WORKERS))
    assert sorted(claimed) == sorted(refs)


def test_rows_are_counted_right_while_chunks_of_a_job_are_finished_at_once(store: JobStore) -> None:
    chunks = 60
    job_id = stored(store, chunks)
    claimed = claim(store, job_id, *range(chunks)).chunks
    kept: list[tuple[str, int]] = []

    def work(mine: Sequence[ClaimedChunk]) -> None:
        for chunk in mine:
            kept.extend(store.finish([finished(chunk, rows_failed=1)]))

    # Each chunk by two, as after an answer that did not arrive.
    at_once(work, [claimed[start % 3 :: 3] for start in range(6)])
    job = store.job(job_id)
    assert job is not None
    assert (job.state, job.chunks_done, job.rows_done, job.rows_failed) == ("succeeded", chunks, chunks * ROWS, chunks)
    assert len(store.result_chunks(job_id, 0, chunks * ROWS)) == chunks


def test_a_key_sent_by_many_at_once_is_one_job(store: JobStore) -> None:
    keys = [f"key {number}" for number in range(10)]
    found: list[Inserted] = []
    barrier = Barrier(WORKERS)

    def submit(seed: int) -> None:
        mine = random.Random(seed).sample(keys, len(keys))
        barrier.wait()
        found.extend(store.insert([new_job(key=key) for key in mine]))

    at_once(submit, range(WORKERS))
    by_job = Counter(one.job_id for one in found)
    assert sorted(by_job.values()) == [WORKERS] * len(keys)
    assert sum(one.is_new for one in found) == len(keys)
    assert store.queued() == len(keys)


def test_of_a_chunk_that_goes_from_hand_to_hand_one_result_is_kept(store: JobStore) -> None:
    ids = [stored(store) for _ in range(12)]
    kept: list[tuple[str, int]] = []
    barrier = Barrier(WORKERS)

    def work(seed: int) -> None:
        barrier.wait()
        for job_id in random.Random(seed).sample(ids, len(ids)):
            chunks = claim(store, job_id, 0, redelivered=True).chunks
            kept.extend(store.finish([finished(chunk) for chunk in chunks]))

    at_once(work, range(WORKERS))
    states = Counter(job.state for job in store.progress(ids).values())
    # A job that was taken over too often has failed; of none are there two results.
    assert states["succeeded"] + states["failed"] == len(ids)
    assert len(kept) == len(set(kept)) == states["succeeded"]


def test_cancelling_retrying_failing_and_finishing_at_once_leave_every_job_in_one_piece(store: JobStore) -> None:
    ids = [stored(store, 4) for _ in range(8)]
    barrier = Barrier(WORKERS)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        barrier.wait()
        for _ in range(25):
            job_id = rng.choice(ids)
            chunks = claim(store, job_id, *rng.sample(range(4), 2), redelivered=rng.random() < 0.2).chunks
            for chunk in chunks:
                match rng.randrange(5):
                    case 0:
                        store.fail(chunk, {"type": "x"})
                    case 1:
                        store.release([chunk])
                    case 2:
                        store.renew([one.claim for one in chunks])
                    case _:
                        store.finish([finished(chunk)])
            if rng.random() < 0.1:
                store.cancel(job_id)
            for failed in store.jobs("failed", None, 3) if rng.random() < 0.3 else ():
                with suppress(DatabaseError):  # somebody else was faster
                    store.retry(failed.job_id)
            store.to_publish(queue_is_empty=True, limit=5)
            store.expire()

    at_once(work, range(WORKERS))
    for job in store.progress(ids).values():
        results = store.result_chunks(job.job_id, 0, job.rows)
        assert (job.chunks_done, job.rows_done) == (len(results), len(results) * ROWS)
        assert (job.state == "succeeded") == (len(results) == 4)
        claimed = claim(store, job.job_id, 0, 1, 2, 3, redelivered=True)
        assert bool(claimed.chunks or claimed.gave_up) == (job.state in ("queued", "running"))
        if claimed.chunks and not claimed.gave_up:
            assert len(claimed.chunks) + len(results) == 4
