"""Problems that several modules of jobs answer."""

from ml_microservice.inference.problems import Problem


def jobs_unavailable(detail: str, retry_seconds: int) -> Problem:
    """The problem for a database, storage or disk that jobs need and that does not answer."""
    headers = {"retry-after": str(retry_seconds)}
    return Problem(503, "jobs-unavailable", "Jobs are not available", detail, headers=headers)
