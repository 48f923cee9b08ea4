"""`GET /jobs/{id}/result`: the whole result, a page or a range of rows, in any format."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from ml_microservice.api.jobs.request import JobId, accept_of, facade_of, find_job, job_path
from ml_microservice.api.negotiation import wanted_format
from ml_microservice.api.traffic import PROBLEM_TYPE
from ml_microservice.inference.bulk_formats import FORMATS, JSON
from ml_microservice.inference.problems import Problem
from ml_microservice.jobs.facade import JobsFacade
from ml_microservice.jobs.job import Job

Offset = Annotated[int | None, Query(ge=0, description="Number of rows to skip.")]
Count = Annotated[int | None, Query(ge=1, description="Most rows of the page. A header `Link` names the next page.")]
RangeHeader = Annotated[
    str | None,
    Header(
        alias="Range",
        description="Instead of a page: `rows=0-99` for the first 100 rows, `rows=-100` for the last.",
    ),
]
RANGE = re.compile(r"rows=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")


@dataclass(frozen=True)
class RowRange:
    """The requested rows of a result."""

    first: int
    stop: int
    headers: Mapping[str, str]
    is_range: bool = False


async def result(
    request: Request, job_id: JobId, offset: Offset = None, limit: Count = None, range: RangeHeader = None
) -> Response:
    """Answer with the result of a job, in the order of its rows, as `/predict` and `/predict/batch` do.

    `Accept` names the format; the default is that of the submission. A row that breaks a rule is answered by its own
    error. Long results are streamed.
    """
    facade = facade_of(request)
    job = await find_job(facade, job_id)
    return await finished_response(request, facade, job, {}, offset=offset, limit=limit, range=range)


async def finished_response(
    request: Request,
    facade: JobsFacade,
    job: Job,
    headers: Mapping[str, str],
    *,
    offset: int | None = None,
    limit: int | None = None,
    range: str | None = None,
) -> Response:
    """Answer with the result of a job, or with the reason why there is none.

    Args:
        request: the request. Its `Accept` names the format.
        facade: the application's jobs.
        job: the job, in any state.
        headers: headers to add.
        offset: number of rows to skip.
        limit: most rows of the page.
        range: value of the header `Range`.

    Raises:
        Problem: the job is not finished, was cancelled, or its result cannot be read or formatted.
    """
    if job.state == "failed":
        problem = job.problem or {}
        return Response(orjson.dumps(problem), problem.get("status", 500), dict(headers), PROBLEM_TYPE)
    if job.state == "cancelled":
        raise Problem(410, "job-cancelled", "The job was cancelled", "It was cancelled, so it has no result.")
    if job.state != "succeeded":
        detail = f"{job.rows_done} of {job.rows} rows are answered: try again later, or follow the job's events."
        raise Problem(409, "job-not-finished", "The job is not finished", detail, headers={"retry-after": "1"})
    sent = next(format for format in FORMATS if format.media_type == job.media_type)
    wanted = wanted_format(accept_of(request), sent)
    if job.is_single and wanted is JSON:
        document, provenance = await facade.results.document(job)
        return Response(document, headers={**headers, **_provenance_headers(provenance)}, media_type=JSON.media_type)
    rows = _row_range(job, job_path(request, job.job_id), offset, limit, range)
    stream = await facade.results.rows(job, rows.first, rows.stop, wanted)
    all_headers = {
        **headers,
        **rows.headers,
        **_provenance_headers(stream.provenance),
        "Content-Type": wanted.media_type,
    }
    return StreamingResponse(stream.blocks, 206 if rows.is_range else 200, all_headers)


def _row_range(job: Job, path: str, offset: int | None, limit: int | None, range: str | None) -> RowRange:
    """The rows that a request asks for.

    Raises:
        Problem: the range begins after the last row.
    """
    accepted = {"Accept-Ranges": "rows"}
    if offset is not None or limit is not None:
        first = min(offset or 0, job.rows)
        stop = job.rows if limit is None else min(first + limit, job.rows)
        if stop == job.rows:
            return RowRange(first, stop, accepted)
        return RowRange(first, stop, {**accepted, "Link": f'<{path}/result?offset={stop}&limit={limit}>; rel="next"'})
    asked = RANGE.fullmatch((range or "").replace(" ", ""))
    if asked is None:  # no range, or one of another unit, which is ignored
        return RowRange(0, job.rows, accepted)
    first, stop = _bounds(job.rows, *asked.groups())
    if first >= stop:
        detail = f"The result has {job.rows} rows, counted from 0."
        about = {"content-range": f"rows */{job.rows}"}
        raise Problem(416, "range-not-satisfiable", "There are no such rows", detail, headers=about)
    return RowRange(first, stop, {**accepted, "Content-Range": f"rows {first}-{stop - 1}/{job.rows}"}, is_range=True)


def _bounds(rows: int, first: str | None, last: str | None, suffix: str | None) -> tuple[int, int]:
    if first is None:
        return max(0, rows - int(suffix or 0)), rows
    return int(first), rows if last is None else min(int(last) + 1, rows)


def _provenance_headers(provenance: Mapping[str, str]) -> dict[str, str]:
    return {f"X-{name.replace('_', '-').title()}": value for name, value in provenance.items()}
