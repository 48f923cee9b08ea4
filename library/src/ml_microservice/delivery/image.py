"""The container images of this project: building them, and checking one while it runs.

Usage: python -m ml_microservice.delivery.image build [OPTION OF docker build ...]
       python -m ml_microservice.delivery.image check
       python -m ml_microservice.delivery.image name

`build` makes the runtime image, unless it is there already, and the production image on top of it, and writes what it
made to build/image.json. `check` starts that image as production would, without any right and with a file system that
cannot be written, predicts the golden rows, and stops it. pip.conf and uv.toml are handed to the build where
PIP_CONFIG_FILE and UV_CONFIG_FILE name them, and are in no image.
"""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.reader import read_artefact, read_manifest
from ml_microservice.artefact.store import version_folder
from ml_microservice.delivery.built import read_built, write_built
from ml_microservice.delivery.container import container, report_of
from ml_microservice.delivery.golden import golden_faults
from ml_microservice.delivery.lock import Lock, read_lock
from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.delivery.wheel import CONTEXT, provide_wheel
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.features.examples import example_row
from ml_microservice.terminal import faults_shown, out
from ml_microservice.training.origin import git_commit

PRODUCTION = "dockerfiles/production-image"
UID = 10001
MEGABYTE = 10**6


def main() -> None:
    """Run the command line."""
    settings = load_delivery_settings()
    match sys.argv[1:]:
        case ["build", *options]:
            built = build(settings, options)
            out.print(f"[bold green]Built[/] {built['image']}", highlight=False, soft_wrap=True)
        case ["check"]:
            check(settings, read_built(settings.root))
        case ["name"]:
            print(settings.image_name(_manifest(settings).version, git_commit(settings.root)))
        case _:
            sys.exit(__doc__)


def build(settings: DeliverySettings, options: list[str]) -> dict[str, Any]:
    """Build both images for the current model; returns the content of `build/image.json`.

    Args:
        settings: of the project.
        options: for `docker build`, of both images.

    Raises:
        ServiceError: there is no model or no lock for it, or Docker fails.
    """
    manifest, lock = _manifest(settings), read_lock(settings)
    _require_the_libraries_of_training(manifest, lock)
    base = settings.image.base or f"python:{lock.python}-slim"
    secrets = [
        f"--secret=id={name},src={os.environ[variable]}"
        for name, variable in (("pip.conf", "PIP_CONFIG_FILE"), ("uv.toml", "UV_CONFIG_FILE"))
        if variable in os.environ
    ]
    packages = " ".join(settings.image.packages)
    wheel = provide_wheel(settings.root, os.environ)
    runtime = f"{settings.name}-runtime:{_runtime_tag(settings.root, base, packages)}"
    _docker_build(settings.root / CONTEXT, runtime, {"BASE": base, "PACKAGES": packages}, [*secrets, *options])

    commit = git_commit(settings.root)
    image = settings.image_name(manifest.version, commit)
    arguments = {
        "RUNTIME_IMAGE": runtime,
        "VERSION": image.rpartition(":")[2],
        "MODEL_VERSION": manifest.version,
        "COMMIT": commit or "nocommit",
        "CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        "NAME": settings.name,
        "TITLE": settings.title or settings.name,
        "DESCRIPTION": settings.description,
    }
    _docker_build(settings.root, image, arguments, [f"--file={settings.root / PRODUCTION}/Dockerfile", *options])
    found = _inspect(image)
    built = {
        "image": image,
        "id": found["Id"],
        "bytes": found["Size"],
        "base": base,
        "machinery": {"version": wheel.version, "sha256": wheel.sha256},
        "model_version": manifest.version,
        "commit": commit,
        "created": arguments["CREATED"],
    }
    return write_built(settings.root, built)


def check(settings: DeliverySettings, built: dict[str, Any]) -> None:
    """Start the image, predict, and check its rights and its size.

    Raises:
        ServiceError: with a fault for each thing that is not as it should be.
    """
    image, found = built["image"], _inspect(built["id"])
    size = found["Size"] / MEGABYTE
    folder = version_folder(settings, built["model_version"])
    artefact = read_artefact(folder, settings.name)
    requests = [example_row(artefact.schema.spec), *(row.request for row in artefact.golden)]
    with container(built["id"]) as name:
        report = report_of(name, requests)
    example, *answers = report["answers"]
    labels = found["Config"]["Labels"] or {}
    faults = [
        Fault(message, advice=advice)
        for is_wrong, message, advice in (
            (size > settings.image.max_megabytes, f"has {size:.0f} MB, more than {settings.image.max_megabytes}",
             "leave extras out, or raise image.max_megabytes in config.yaml; docs/images.md says what takes how much"),
            (report["uid"] != UID, f"runs as user {report['uid']}, not {UID}", None),
            (bool(report["written"]), f"can write to {', '.join(report['written'])}", None),
            (bool(report["refused"]), f"cannot write to {', '.join(report['refused'])}", None),
            ("prediction" not in example, f"does not predict the example of features.yaml: {example}", None),
            (labels.get("ml.model.version") != example.get("model_version"), "answers with another model", None),
            (report["exit_code"] != 0, f"ended with exit code {report['exit_code']} when told to stop", None),
        )
        if is_wrong
    ]  # fmt: skip
    faults += golden_faults(artefact, answers)
    if faults:
        raise ServiceError(*faults)
    out.print(
        f"[bold green]Checked[/] {image}: {size:.0f} MB, ready after {report['seconds']:.1f} s, predicts "
        f"{example['prediction']!r}, answers {len(answers)} golden rows as in training, "
        f"user {UID}, writes to {', '.join(report['writable'])} alone",
        highlight=False,
        soft_wrap=True,
    )


def _manifest(settings: DeliverySettings) -> Manifest:
    return read_manifest(version_folder(settings))


def _require_the_libraries_of_training(manifest: Manifest, lock: Lock) -> None:
    trained = ".".join(manifest.origin.python.split(".")[:2])
    faults = (
        [] if trained == lock.python else [f"the model was trained by Python {trained}, the lock is for {lock.python}"]
    )
    faults += [
        f"the model was trained with {name} {version}, the lock has {lock.versions[name]}"
        for name, version in manifest.origin.libraries.items()
        if lock.versions.get(name, version) != version
    ]
    if faults:
        advice = "run 'make lock' where it was trained, or train again"
        raise ServiceError(*(Fault(message, f"{CONTEXT}/requirements.lock", advice=advice) for message in faults))


def _runtime_tag(root: Path, base: str, packages: str) -> str:
    """A digest of all that the runtime image is made of, the machinery's wheel included."""
    digest = hashlib.sha256(f"{base}\0{packages}".encode())
    for path in sorted((root / CONTEXT).iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _docker_build(context: Path, tag: str, arguments: dict[str, str], options: list[str]) -> None:
    passed = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command = ["docker", "build", f"--tag={tag}", *passed, *options, str(context)]
    # What builds in steps that may be skipped, and mounts secrets; older versions of Docker have to be told. Newer ones
    # make a list of an image and its attestations, which has another digest than the image.
    variables = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    if subprocess.run(command, env={**os.environ, **variables}).returncode:
        raise ServiceError(Fault(f"Docker could not build {tag}", advice="its words stand above"))


def _inspect(image: str) -> dict[str, Any]:
    done = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(Fault(f"there is no image {image}", advice="run 'make image'"))
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


if __name__ == "__main__":
    with faults_shown():
        main()
