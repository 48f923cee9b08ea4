"""Every error of the service as an RFC 9457 problem document, whatever raised it."""

import logging
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ml_microservice.api.traffic import error_body
from ml_microservice.inference.problems import Problem
from ml_microservice.tracing.current_span import set_attribute

logger = logging.getLogger(__name__)


async def problem_handler(request: Request, error: Exception) -> Response:
    """A `Problem` that a route raised."""
    assert isinstance(error, Problem)
    return _response(request, error)


async def http_error_handler(request: Request, error: Exception) -> Response:
    """An error of the router: no such path, no such method."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    return _response(request, Problem(error.status_code, kind, title, "See /docs for what there is.", headers=headers))


async def validation_error_handler(request: Request, error: Exception) -> Response:
    """A query or path parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    return _response(request, Problem(422, "invalid-request", "The request is not valid", detail))


async def unexpected_error_handler(request: Request, error: Exception) -> Response:
    """A defect of the service; the log has its traceback."""
    return _response(request, unexpected_problem(request.method, request.url.path, error))


def unexpected_problem(method: str, path: str, error: Exception) -> Problem:
    """The problem that answers a defect, which is logged with its traceback."""
    logger.error("%s %s failed", method, path, exc_info=error)
    return Problem(500, "internal-error", "Internal error", "The service failed; its log says why.")


def _response(request: Request, problem: Problem) -> Response:
    set_attribute("problem.type", problem.kind)
    body, media_type = error_body(problem, request.url.path)
    return Response(body, problem.status, headers=dict(problem.headers), media_type=media_type)
