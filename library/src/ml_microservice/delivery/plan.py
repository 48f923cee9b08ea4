"""Plan of a deployment, checked as far as possible without the cluster, before anybody approves it.

Usage: python -m ml_microservice.delivery.plan ENVIRONMENT
       python -m ml_microservice.delivery.plan lint

The first writes build/plan.json. `lint` holds the chart against the values of every environment; it needs no image.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_microservice.delivery.built import IMAGE, read_built, write_json
from ml_microservice.delivery.helm import lint, rendered
from ml_microservice.delivery.settings import DeliverySettings, DeploymentSettings, load_delivery_settings
from ml_microservice.errors import ConfigError, Fault, ServiceError, did_you_mean, listed
from ml_microservice.settings import CONFIG_FILE
from ml_microservice.terminal import faults_shown, out

PLAN = "build/plan.json"
SOME_DIGEST = f"sha256:{'0' * 64}"


def plan(settings: DeliverySettings, name: str) -> dict[str, Any]:
    """Plan a deployment: image, chart and place; also written to `build/plan.json`.

    Args:
        settings: of the project.
        name: of the environment.

    Raises:
        ServiceError: the environment is unknown, the image was not pushed, or the chart does not go together with the
            environment's values.
    """
    (settings.root / PLAN).unlink(missing_ok=True)
    environment = _environment(settings, name)
    built = read_built(settings.root)
    if "digest" not in built:
        raise ServiceError(Fault("the image has no digest: no registry has it yet", IMAGE, advice="run 'make push'"))
    planned = {
        "environment": name,
        "image": built["image"],
        "repository": built["repository"],
        "digest": built["digest"],
        "model_version": built["model_version"],
        "commit": built["commit"],
        "namespace": environment.namespace,
        "release": environment.release or settings.name,
        "values": list(environment.values),
        "url": environment.url,
        "approvers": environment.approvers,
    }
    manifests = rendered(planned["release"], planned["namespace"], helm_values(planned))
    reference = f"{built['repository']}@{built['digest']}"
    if reference not in manifests:
        raise ServiceError(Fault(f"the chart does not run {reference}", "helm"))
    write_json(settings.root / PLAN, planned)
    return planned


def helm_values(planned: dict[str, Any]) -> list[str]:
    """Options of Helm for a plan: files of values, and the image by its digest."""
    # The tag is for the labels alone: a digest wins.
    image = {"repository": planned["repository"], "tag": planned["image"].rpartition(":")[2]}
    return _options(planned["values"], {**image, "digest": planned["digest"]})


def lint_all(settings: DeliverySettings) -> None:
    """Lint the chart with the values of every environment.

    Raises:
        ServiceError: with a fault for each environment where they do not go together.
    """
    faults: list[Fault] = []
    for name in settings.pipelines.environments:
        try:
            lint(_options(_environment(settings, name).values, {"digest": SOME_DIGEST}))
            out.print(f"[bold green]Linted[/] the chart with the values of {name}", highlight=False)
        except ServiceError as error:
            faults += [Fault(f"{name}: {fault.message}", fault.file, advice=fault.advice) for fault in error.faults]
    if faults:
        raise ServiceError(*faults)
    if not settings.pipelines.environments:
        out.print(f"Nothing to lint: {CONFIG_FILE} names no pipelines.environments", highlight=False)


def _environment(settings: DeliverySettings, name: str) -> DeploymentSettings:
    environments = settings.pipelines.environments
    if name not in environments:
        known = f"{CONFIG_FILE} has {listed(environments)}" if environments else "pipelines.environments has none"
        message = f"there is no environment {name!r}" if name else "no environment is named"
        raise ConfigError(Fault(message, CONFIG_FILE, advice=did_you_mean(name, environments, known)))
    missing = [file for file in environments[name].values if not (settings.root / file).is_file()]
    if missing:
        message = f"pipelines.environments.{name}.values: there is no file {listed(missing)}"
        raise ConfigError(Fault(message, CONFIG_FILE))
    return environments[name]


def _options(files: Sequence[str], image: dict[str, str]) -> list[str]:
    pairs = ",".join(f"image.{key}={value}" for key, value in image.items())
    return [*(f"--values={Path(file)}" for file in files), f"--set-string={pairs}"]


def main() -> None:
    """Run the command line."""
    settings = load_delivery_settings()
    match sys.argv[1:]:
        case ["lint"]:
            lint_all(settings)
        case [name]:
            planned = plan(settings, name)
            where = f"{planned['release']} in {planned['namespace']}"
            words = f"{planned['repository']}@{planned['digest']}, model {planned['model_version']}, as {where}"
            out.print(f"[bold green]Planned[/] {name}: {words}", highlight=False, soft_wrap=True)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    with faults_shown():
        main()
