"""The documentation page: Swagger UI, with its files from this service, since not every network reaches a CDN."""

from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

FOLDER = Path(str(files("fastapi_offline"))) / "static"
SCRIPT, STYLE, ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
CACHE = {"cache-control": "max-age=86400"}
PARAMETERS = {
    "tryItOutEnabled": True,
    "displayRequestDuration": True,
    "defaultModelsExpandDepth": 0,  # schemas are folded
    "validatorUrl": None,  # asks no other host whether the document is valid
}


def add_docs(app: FastAPI) -> None:
    """Serve the page at `/docs` and its files below; all URLs are relative, so that a proxy may add a prefix."""
    content = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=escape(app.title),
        swagger_js_url=f"docs/{SCRIPT}",
        swagger_css_url=f"docs/{STYLE}",
        swagger_favicon_url=f"docs/{ICON}",
        swagger_ui_parameters=PARAMETERS,
    ).body

    async def page() -> HTMLResponse:
        return HTMLResponse(content)

    async def file(name: str) -> FileResponse:
        if name not in (SCRIPT, STYLE, ICON):
            raise HTTPException(404)
        return FileResponse(FOLDER / name, headers=CACHE)

    app.add_api_route("/docs", page, include_in_schema=False)
    app.add_api_route("/docs/{name}", file, include_in_schema=False)
