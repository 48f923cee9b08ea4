"""The sections of `config.yaml` that building, pipelines and deployment read, and a service does not."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from ml_microservice.settings import Section, Settings, load_settings_as
from ml_microservice.settings.urls import with_scheme, without_password

CRON = re.compile(r"@[a-z]+|[0-9H*/,()-]+( +[0-9H*/,()-]+){4}")
ADDRESS = re.compile(r"[^@\s,]+@[^@\s,]+")
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]


class ImageSettings(Section):
    """The container image of this project."""

    registry: str = ""
    """Registry and namespace of the image, without its name."""
    base: str | None = None
    """Base image, best with its digest: `python:3.11-slim@sha256:...`; by default the slim image of the Python version
    that trained the model."""
    extras: tuple[str, ...] = ("model", "onnx", "jobs", "redis", "postgres", "fluentd")
    """Extras that are installed in the image: of the project's `pyproject.toml`, as `model` is, or else of the
    machinery. Run `make lock` after a change."""
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")], ...] = ()
    """Debian packages that the libraries need, such as `libgomp1` for LightGBM."""
    max_megabytes: int = Field(650, ge=1)
    """Largest uncompressed size of the image; `make image` fails beyond it."""
    scan: str = (
        "trivy image --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 --quiet "
        "--format json --output build/scan.json"
    )
    """Command of `make scan`, to which the image's name is added; it must write `build/scan.json`. Empty for no
    scan."""


class DeploymentSettings(Section):
    """An environment that `make deploy` deploys to."""

    values: tuple[str, ...] = ()
    """Files of Helm values, relative to the project; a later one wins."""
    namespace: DnsLabel
    """Existing Kubernetes namespace."""
    release: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", max_length=53)] = ""
    """Name of the Helm release; the project's name by default."""
    url: Annotated[str, with_scheme("http", "https"), without_password("")] = ""
    """URL of the service in this environment, which a deployment sends a smoke prediction to; none by default."""
    approvers: str = ""
    """Jenkins user or group that has to approve a deployment; none by default."""


class PipelinesSettings(Section):
    """What Jenkins and `make deploy` need to know of this project."""

    repository: Annotated[str, without_password("let Jenkins have it as the credential 'git'")] = ""
    """URL that Jenkins checks the project out from; needed by Jenkins alone."""
    branch: Annotated[str, Field(min_length=1)] = "main"
    """Branch that is trained, built and deployed."""
    train_on_push: bool = True
    """Whether a push to that branch starts a training."""
    retrain: str = ""
    """When to train without a push, as a Jenkins cron expression such as `H 3 * * 1`; never by default."""
    retrain_on_drift: bool = False
    """Whether a drift alarm starts a training."""
    notify: tuple[str, ...] = ()
    """E-mail addresses that are notified when a pipeline fails, and when it succeeds again."""
    environments: dict[DnsLabel, DeploymentSettings] = Field({})
    """Environments by name, for `make deploy ENV=...`; the keys of each are listed below."""

    @field_validator("retrain")
    @classmethod
    def _written_as_cron(cls, retrain: str) -> str:
        if retrain and not CRON.fullmatch(retrain):
            raise ValueError(f"{retrain!r} is no time as Jenkins writes it: five fields, such as H 3 * * 1, or @daily")
        return retrain

    @field_validator("notify")
    @classmethod
    def _e_mail_addresses(cls, notify: tuple[str, ...]) -> tuple[str, ...]:
        for address in notify:
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no e-mail address")
        return notify


class DeliverySettings(Settings):
    """All of `config.yaml`: what the service reads, and what building and deploying it takes besides."""

    image: ImageSettings = ImageSettings()
    pipelines: PipelinesSettings = PipelinesSettings()

    def image_name(self, version: str, commit: str | None) -> str:
        """Name and tag of the image of a model version.

        Args:
            version: the model version.
            commit: the commit of the code, with `-dirty` when files differ from it; None outside of git.
        """
        revision, _, dirty = (commit or "nocommit").partition("-")
        tag = "-".join(filter(None, (version, revision[:12], dirty)))
        return f"{'/'.join(filter(None, (self.image.registry, self.name)))}:{tag}"


def load_delivery_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> DeliverySettings:
    """Read all of `config.yaml` in `root` (the current folder by default) and lay the environment over it.

    Raises:
        ConfigError: with one fault per mistake, each with its line or variable.
    """
    return load_settings_as(DeliverySettings, root, environ)
