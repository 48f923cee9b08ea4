"""The limit with validation: Pydantic checks the body's bytes, orjson writes the answer."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from request import ANSWER, Row

validate = Row.__pydantic_validator__.validate_json


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Check the row, answer the same for any."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    validate(body)
    answer = orjson.dumps(ANSWER)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
