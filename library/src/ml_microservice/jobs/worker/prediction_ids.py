"""Prediction ids of jobs: the same whenever a row is predicted again, so that its record replaces nothing and doubles
nothing.

UUIDs of version 8 (RFC 9562), whose 122 free bits are those of a hash of the job's id and of the row's number in it.
"""

from collections.abc import Iterable
from hashlib import blake2b
from uuid import UUID

import numpy as np

from ml_microservice.inference.stamps import as_uuids

VERSION = 8


def prediction_ids(job_id: str, rows: Iterable[int]) -> list[str]:
    """The ids of predictions: BLAKE2b of the row's number, with the job's id as the key.

    Args:
        job_id: UUID.
        rows: numbers of rows, from 0 in the whole job.
    """
    keyed = blake2b(key=UUID(job_id).bytes, digest_size=16)
    digests = []
    for row in rows:
        hashed = keyed.copy()
        hashed.update(b"%d" % row)
        digests.append(hashed.digest())
    octets = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16).copy()
    return as_uuids(octets, VERSION)
