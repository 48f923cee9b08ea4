"""`POST /jobs` on the hot route, for the most frequent submissions: small JSON without special headers."""

from collections.abc import AsyncIterator, Mapping, Sequence

import orjson
from starlette.types import Scope

from ml_microservice.api.hot_route import IsGone, RawHeader
from ml_microservice.api.jobs.documents import new_job_document
from ml_microservice.inference.core import Core
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.jobs.submission.body import JSON, Submission
from ml_microservice.jobs.submission.submitter import SMALL_BYTES

SPECIAL = frozenset({b"idempotency-key", b"webhook-url"})
"""Headers of requests that are left to FastAPI's route."""


class HotSubmit:
    """Answers as `endpoints.submit` does."""

    path = route = "/jobs"
    status = 202

    def __init__(self, core: Core, facade: JobsFacade) -> None:
        self._core = core
        self._facade = facade
        self._max_bytes = min(SMALL_BYTES, facade.settings.api.max_body_bytes)

    def takes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """See `HotEndpoint`."""
        is_plain = not scope["query_string"] and not scope.get("root_path") and SPECIAL.isdisjoint(headers)
        is_json = headers.get(b"content-type", b"application/json") == b"application/json"
        return is_plain and is_json and int(headers.get(b"content-length", b"0")) <= self._max_bytes

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """See `HotEndpoint`."""

    async def answer(
        self, headers: Mapping[bytes, bytes], body: bytes, is_gone: IsGone, started: float
    ) -> tuple[bytes, Sequence[RawHeader]]:
        """See `HotEndpoint`."""
        submission = Submission(_blocks(body), JSON, content_length=len(body))
        submitted = await self._facade.submitter.submit(submission, self._core.served)
        path = f"{self.path}/{submitted.inserted.job_id}"
        document = new_job_document(submitted.inserted, JSON, submitted.rows, has_webhook=False, path=path)
        return orjson.dumps(document), ((b"content-type", b"application/json"), (b"location", path.encode()))


async def _blocks(body: bytes) -> AsyncIterator[bytes]:
    yield body
