"""`ml-service logging ...`: what Elasticsearch and Kibana need for the records."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_microservice.cli.app import logging_app
from ml_microservice.errors import Fault, InstallError
from ml_microservice.settings import Settings, load_settings

if TYPE_CHECKING:
    from ml_microservice.features.spec import FeatureSpec


@logging_app.command()
def render(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")] = Path("var/logging"),
) -> None:
    """Write what `install` would install: files named by their path in Elasticsearch's API, and one for Kibana."""
    from ml_microservice.records.elasticsearch.index import index_objects
    from ml_microservice.records.elasticsearch.kibana import as_lines, saved_objects
    from ml_microservice.terminal import out

    spec, settings = _project()
    files = {
        f"elasticsearch/{path}.json": json.dumps(body, indent=2, ensure_ascii=False) + "\n"
        for path, body in index_objects(spec, settings).items()
    }
    files["kibana.ndjson"] = as_lines(saved_objects(spec, settings))
    for name, text in files.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        out.print(f"[bold green]Wrote[/] {path}", highlight=False, soft_wrap=True)


@logging_app.command()
def install(
    elasticsearch: Annotated[str | None, typer.Option(help="URL of Elasticsearch.")] = None,
    kibana: Annotated[str | None, typer.Option(help="URL of Kibana.")] = None,
) -> None:
    """Install index templates and their lifecycle in Elasticsearch, data views and a dashboard in Kibana.

    Run it again after every change of `features.yaml`; it takes effect with the next day's index. Credentials come
    from the environment: ELASTICSEARCH_USER and ELASTICSEARCH_PASSWORD, or ELASTICSEARCH_API_KEY; certificates from
    ELASTICSEARCH_CA_FILE.
    """
    from ml_microservice.records.elasticsearch.install import install as run
    from ml_microservice.terminal import out

    if not (elasticsearch or kibana):
        raise InstallError(Fault("nothing to install into", advice="give --elasticsearch URL, --kibana URL or both"))
    spec, settings = _project()
    for name in run(spec, settings, elasticsearch, kibana, os.environ):
        out.print(f"[bold green]Installed[/] {name}", highlight=False, soft_wrap=True)


def _project() -> tuple["FeatureSpec", Settings]:
    from ml_microservice.features.features_file import complete_features, load_features

    settings = load_settings()
    return complete_features(load_features(settings.features_file, settings.id_name)), settings
