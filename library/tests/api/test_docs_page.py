"""The documentation page works where no other host can be reached."""

import re

import pytest
from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.settings import Settings, load_settings

LINK = re.compile(r"""(?:href|src)="([^"]*)"|\burl: '([^']*)'""")


def links(page: str) -> list[str]:
    """Everything that the page makes a browser load."""
    return [reference or document for reference, document in LINK.findall(page)]


def test_the_page_names_no_other_host(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "//" not in page
    assert '"validatorUrl": null' in page


def test_the_page_loads_its_files_and_the_document_from_this_service(client: TestClient) -> None:
    found = links(client.get("/docs").text)
    assert found == ["docs/swagger-ui.css", "docs/favicon.png", "docs/swagger-ui-bundle.js", "openapi.json"]
    types = [client.get(f"/{link}").headers["content-type"].partition(";")[0] for link in found]
    assert types == ["text/css", "image/png", "text/javascript", "application/json"]
    assert "SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").text
    assert ".swagger-ui" in client.get("/docs/swagger-ui.css").text


@pytest.mark.parametrize("name", ["redoc.standalone.js", "..%2f__init__.py", "..%2f..%2fconfig.yaml"])
def test_nothing_else_can_be_fetched_beside_them(client: TestClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404


def test_the_page_needs_no_key_and_shows_the_title_as_text(settings: Settings) -> None:
    variables = {"SERVICE__API__KEYS": "a-key", "SERVICE__TITLE": "<b>Houses</b>"}
    client = TestClient(create_app(load_settings(settings.root, variables)))
    assert "<title>&lt;b&gt;Houses&lt;/b&gt;</title>" in client.get("/docs").text
