"""The bill of materials of the image in CycloneDX's JSON: its libraries from the lock, the machinery, the model and
the base image.

Usage: python -m ml_microservice.delivery.sbom

The same image has the same bill. Packages of the base's Debian are not in it: ask the base's own bill for these.
"""

import re
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ml_microservice.artefact.manifest import FileDigest
from ml_microservice.artefact.store import MANIFEST, version_folder
from ml_microservice.delivery.built import read_built, write_json
from ml_microservice.delivery.integrity import DISTRIBUTION
from ml_microservice.delivery.lock import read_lock
from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.terminal import faults_shown

BILL = "build/sbom.cdx.json"
EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
"""An SPDX licence expression without parentheses."""


def bill_of_materials(settings: DeliverySettings, built: dict[str, Any]) -> dict[str, Any]:
    """Build the CycloneDX document of an image.

    Args:
        settings: of the project.
        built: what `make image` wrote to build/image.json.

    Raises:
        ServiceError: the lock or the model is not there.
    """
    digest = built["id"].removeprefix("sha256:")
    image, _, tag = built["image"].rpartition(":")
    reference = f"{built['image']}@{built['id']}"
    components = [_library(name, version) for name, version in sorted(read_lock(settings).versions.items())]
    components += [_machinery(built["machinery"]), _model(settings, built["model_version"]), _base(built["base"])]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, reference)}",
        "version": 1,
        "metadata": {
            "timestamp": built["created"],
            "component": {
                "type": "container",
                "bom-ref": reference,
                "name": image,
                "version": tag,
                "description": settings.description,
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "properties": [{"name": "commit", "value": built["commit"] or "none"}],
            },
        },
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": [component["bom-ref"] for component in components]}],
    }


def _library(name: str, version: str) -> dict[str, Any]:
    url = f"pkg:pypi/{name}@{version}"
    library: dict[str, Any] = {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
    licence = _licence(name)
    return {**library, "licenses": [{"expression": licence}]} if licence else library


def _machinery(wheel: dict[str, str]) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": wheel["sha256"]}]
    return {**_library(DISTRIBUTION, wheel["version"]), "hashes": hashes}


def _licence(name: str) -> str | None:
    """The licence expression that an installed package declares; None without one."""
    try:
        declared = metadata(name).json.get("license_expression")
    except PackageNotFoundError:
        return None
    return declared if isinstance(declared, str) and EXPRESSION.fullmatch(declared) else None


def _model(settings: DeliverySettings, version: str) -> dict[str, Any]:
    manifest = version_folder(settings, version) / MANIFEST
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{settings.name}@{version}",
        "name": settings.name,
        "version": version,
        # Of the manifest, which has the digests of all other files.
        "hashes": [{"alg": "SHA-256", "content": FileDigest.of(manifest.read_bytes()).sha256}],
    }


def _base(base: str) -> dict[str, Any]:
    name, _, digest = base.partition("@sha256:")
    hashes = {"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}
    return {"type": "container", "bom-ref": f"base:{base}", "name": name, **hashes}


def main() -> None:
    """Write the bill of materials of the latest image."""
    settings = load_delivery_settings()
    write_json(settings.root / BILL, bill_of_materials(settings, read_built(settings.root)))
    print(f"Wrote {BILL}")


if __name__ == "__main__":
    with faults_shown():
        main()
