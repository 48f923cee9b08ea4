"""Idempotent prediction ids: a row of a job that is predicted twice has the same id, and so one record.

They are UUIDs of version 8 (RFC 9562). Their 122 free bits come from a hash of the job's id and the row's number.
"""

from collections.abc import Iterable
from hashlib import blake2b
from uuid import UUID

import numpy as np

from ml_microservice.inference.stamps import as_uuids

VERSION = 8


def prediction_ids(job_id: str, rows: Iterable[int]) -> list[str]:
    """Hash each row's number by BLAKE2b, with the job's id as the key.

    Args:
        job_id: a UUID.
        rows: row numbers, counted from 0 in the whole job.
    """
    keyed = blake2b(key=UUID(job_id).bytes, digest_size=16)
    digests = []
    for row in rows:
        hashed = keyed.copy()
        hashed.update(b"%d" % row)
        digests.append(hashed.digest())
    octets = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16).copy()
    return as_uuids(octets, VERSION)
