"""Installs index templates and saved objects in Elasticsearch and Kibana. Installation is idempotent."""

import json
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ml_microservice.errors import Fault, InstallError
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.records.elasticsearch.index import index_objects
from ml_microservice.records.elasticsearch.kibana import as_lines, saved_objects
from ml_microservice.settings import Settings

USER, PASSWORD, API_KEY = "ELASTICSEARCH_USER", "ELASTICSEARCH_PASSWORD", "ELASTICSEARCH_API_KEY"
CA_FILE = "ELASTICSEARCH_CA_FILE"
OLDEST_ELASTICSEARCH = (8, 3)
"""The first version that supports `subobjects: false`."""
OLDEST_KIBANA = (8, 8)
"""The first version that supports the formats of the saved objects."""
SECONDS = 30
BOUNDARY = "saved-objects-of-the-service"


def install(
    spec: FeatureSpec, settings: Settings, elasticsearch: str | None, kibana: str | None, environ: Mapping[str, str]
) -> Iterator[str]:
    """Install all objects, and yield the name of each once it is installed.

    Args:
        spec: the features.
        settings: the project's settings.
        elasticsearch: URL of Elasticsearch; None to skip it.
        kibana: URL of Kibana; None to skip it.
        environ: the environment, with the credentials.

    Raises:
        InstallError: a server cannot be reached, is too old or refuses. Names yielded before are installed.
    """
    if elasticsearch:
        server = Server("Elasticsearch", elasticsearch, environ)
        _check_version(server, server.call("GET", "").get("version", {}).get("number"), OLDEST_ELASTICSEARCH)
        for path, body in index_objects(spec, settings).items():
            server.call("PUT", path, json.dumps(body).encode())
            yield path
    if kibana:
        server = Server("Kibana", kibana, environ)
        _check_version(server, server.call("GET", "api/status").get("version", {}).get("number"), OLDEST_KIBANA)
        objects = saved_objects(spec, settings)
        answer = server.call("POST", "api/saved_objects/_import?overwrite=true", *_as_upload(as_lines(objects)))
        if not answer.get("success"):
            raise InstallError(*(f"Kibana: {_import_fault(one)}" for one in answer.get("errors") or [answer]))
        yield from (f"{one['type']}/{one['id']}" for one in objects)


class Server:
    """A client of an HTTP API that answers JSON.

    Args:
        name: the server's name in error messages.
        url: the server's URL, without credentials.
        environ: the environment, with credentials and certificate authorities.

    Raises:
        InstallError: the URL or the credentials cannot be used.
    """

    def __init__(self, name: str, url: str, environ: Mapping[str, str]) -> None:
        self.name = name
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InstallError(Fault(f"{name}'s address has to be a URL", advice="such as https://host:9200"))
        if parts.username or parts.password:
            advice = f"set {USER} and {PASSWORD}, or {API_KEY}, in the environment"
            raise InstallError(Fault(f"{name}'s URL has credentials in it, where others can read them", advice=advice))
        self.url = url.rstrip("/")
        self._headers = {"kbn-xsrf": "true", "Accept": "application/json", **_authorization(environ)}
        try:
            self._context = ssl.create_default_context(cafile=environ.get(CA_FILE) or None)
        except OSError as error:
            raise InstallError(Fault(f"{CA_FILE} cannot be read: {error}")) from error

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            InstallError: the server does not answer, or refuses.
        """
        headers = {**self._headers, "Content-Type": kind}
        request = Request(f"{self.url}/{path}", data=body, headers=headers, method=method)
        try:
            with urlopen(request, timeout=SECONDS, context=self._context) as response:
                answer = json.loads(response.read())
        except HTTPError as error:
            raise InstallError(self._refusal(error, method, path)) from error
        except URLError as error:
            raise InstallError(Fault(f"no answer from {self.name} at {self.url}: {error.reason}")) from error
        except (OSError, ValueError) as error:
            raise InstallError(Fault(f"no answer from {self.name} at {self.url}: {error}")) from error
        if not isinstance(answer, dict):
            raise InstallError(Fault(f"what answers at {self.url} is not {self.name}"))
        return answer

    def _refusal(self, error: HTTPError, method: str, path: str) -> Fault:
        if error.code in (401, 403):
            advice = f"set {USER} and {PASSWORD}, or {API_KEY}, to those of somebody who may"
            return Fault(f"{self.name} does not let this caller {method} /{path} ({error.code})", advice=advice)
        text = error.read(10_000).decode(errors="replace")
        try:
            answer = json.loads(text)
            reason = answer["error"]["reason"] if isinstance(answer.get("error"), dict) else answer["message"]
        except (ValueError, KeyError, AttributeError):
            reason = text.strip()[:300]
        return Fault(f"{self.name} refused {method} /{path} ({error.code}): {reason}")


def _authorization(environ: Mapping[str, str]) -> dict[str, str]:
    user, password, key = (environ.get(name) for name in (USER, PASSWORD, API_KEY))
    if key:
        return {"Authorization": f"ApiKey {key}"}
    if bool(user) != bool(password):
        raise InstallError(Fault(f"of {USER} and {PASSWORD} only one is set", advice="set both, or neither"))
    if user and password:
        return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
    return {}


def _check_version(server: Server, version: Any, oldest: tuple[int, int]) -> None:
    match = re.match(r"(\d+)\.(\d+)", str(version))
    if match is None:
        raise InstallError(Fault(f"what answers at {server.url} is not {server.name}"))
    if (int(match[1]), int(match[2])) < oldest:
        wanted = ".".join(map(str, oldest))
        raise InstallError(Fault(f"{server.name} is {version}; {wanted} or newer is needed"))


def _as_upload(text: str) -> tuple[bytes, str]:
    """A multipart form with one file, and its content type."""
    head = 'Content-Disposition: form-data; name="file"; filename="records.ndjson"'
    body = f"--{BOUNDARY}\r\n{head}\r\nContent-Type: application/ndjson\r\n\r\n{text}\r\n--{BOUNDARY}--\r\n"
    return body.encode(), f"multipart/form-data; boundary={BOUNDARY}"


def _import_fault(error: Mapping[str, Any]) -> str:
    reason = error.get("error", error)
    words = reason.get("message") or reason.get("type") if isinstance(reason, Mapping) else reason
    return f"{error.get('type', 'import')}/{error.get('id', '')}: {words}"
