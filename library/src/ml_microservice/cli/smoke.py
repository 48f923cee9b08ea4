"""`ml-service smoke`: one prediction from a service that has just been deployed."""

import sys
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson
import typer

from ml_microservice.cli.app import app
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.settings import Settings, load_settings


@app.command()
def smoke(
    url: Annotated[str, typer.Argument(metavar="URL", help="URL of the service, without a path.")],
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 10,
) -> None:
    """Send a running service the example from its own documentation, and print the prediction, which is recorded.

    The API key is the first of `SERVICE__API__KEYS`, if keys are set.
    """

    settings, address = load_settings(), url.rstrip("/")
    document = _asked(f"{address}/openapi.json", None, settings, timeout)
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = _asked(f"{address}/predict", orjson.dumps(example), settings, timeout)
    sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")


def _asked(url: str, body: bytes | None, settings: Settings, timeout: float) -> Any:
    """The answer of a service, as data.

    Raises:
        ServiceError: it does not answer in time, or not with 200.
    """

    if not url.startswith(("http://", "https://")):
        raise ServiceError(Fault(f"{url} is no address", advice="such as http://127.0.0.1:8000"))
    headers = {"content-type": "application/json"}
    if settings.api.keys:
        headers["x-api-key"] = settings.api.keys[0].get_secret_value()
    try:
        with urlopen(Request(url, body, headers), timeout=timeout) as response:
            return orjson.loads(response.read())
    except HTTPError as error:
        detail = error.read().decode(errors="replace")
        raise ServiceError(Fault(f"{url} answers {error.code}: {detail}")) from None
    except (URLError, TimeoutError, ConnectionError, orjson.JSONDecodeError) as error:
        raise ServiceError(Fault(f"{url} does not answer as a service does: {error}")) from None
