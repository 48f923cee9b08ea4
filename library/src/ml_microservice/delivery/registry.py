"""Pushing the image to its registry, once, under a tag that never changes.

Usage: python -m ml_microservice.delivery.registry push [--allow-unclean]

Logs in with REGISTRY_USER and REGISTRY_PASSWORD where they are set, and else as whoever `docker login` has logged in.
An image of files that are not committed is refused, unless --allow-unclean is given. What the registry says is written
to build/image.json as `digest` and `repository`: that is what is deployed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

from ml_microservice.delivery.built import read_built, write_built
from ml_microservice.delivery.settings import load_delivery_settings
from ml_microservice.errors import Fault, ServiceError
from ml_microservice.terminal import faults_shown, out

UNCLEAN = re.compile(r"-(dirty|nocommit)$")
NOT_THERE = re.compile(r"no such manifest|manifest unknown|name unknown|not found", re.IGNORECASE)
HOST = re.compile(r"((localhost|[^/:]*\.[^/:]*|[^/:]+(?=:))(?::\d+)?)/")
"""Registry and host at the beginning of an image's name; names on Docker Hub have neither."""
KEPT = ("cli-plugins", "contexts", "buildx")
"""Folders of Docker's configuration without passwords; those are in `config.json`."""
LOGINS = ("auths", "credsStore", "credHelpers")


class Entry(NamedTuple):
    """An image in a registry, found by its tag."""

    digest: str
    """Digest of the manifest."""
    image: str
    """Digest of the image's configuration: the image's id in Docker's classic image store."""


def push(root: Path, allow_unclean: bool, environ: Mapping[str, str]) -> dict[str, Any]:
    """Push the image in `build/image.json`; returns that file's new content.

    Args:
        root: the project.
        allow_unclean: whether files may differ from the commit, or there be none.
        environ: with REGISTRY_USER and REGISTRY_PASSWORD, or neither.

    Raises:
        ServiceError: the image's name has no registry, its tag is another image's already, it was built from files that
            are not committed, or Docker or the registry fail.
    """
    built = read_built(root)
    image = built["image"]
    repository = image.rpartition(":")[0]
    if "/" not in repository:
        advice = "set image.registry in config.yaml, and make image again"
        raise ServiceError(Fault(f"{image} names no registry to push to", advice=advice))
    if UNCLEAN.search(image) and not allow_unclean:
        message = f"{image} was built from files that no commit has"
        raise ServiceError(Fault(message, advice="commit, make image again; or make push ARGS=--allow-unclean"))
    with _logged_in(image, environ) as variables:
        before = _found(image, variables)
        if before is not None and built["id"] not in before:
            message = f"the registry has another image as {image}, {before.digest}"
            raise ServiceError(Fault(message, advice="tags never change: commit or train again, and make image"))
        if before is None:
            # The tag may have moved since `make image`; the id has not.
            _docker(["tag", built["id"], image], variables)
            _docker(["push", image], variables, shown=True)
        now = before or _found(image, variables)
    if now is None or built["id"] not in now:
        raise ServiceError(Fault(f"the registry does not have {image} as it was pushed", advice="push again"))
    return write_built(root, {**built, "digest": now.digest, "repository": repository})


@contextmanager
def _logged_in(image: str, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Environment variables for `docker`; with a password, a login in a temporary folder of configuration."""
    user, password = (environ.get(f"REGISTRY_{name}", "") for name in ("USER", "PASSWORD"))
    inherited = {name: value for name, value in environ.items() if name != "REGISTRY_PASSWORD"}
    if bool(user) != bool(password):
        raise ServiceError(Fault("set both REGISTRY_USER and REGISTRY_PASSWORD, or neither"))
    if not user:
        yield inherited
        return
    usual = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")
    with tempfile.TemporaryDirectory(prefix="docker-config-") as folder:
        for name in KEPT:
            if (usual / name).exists():
                (Path(folder) / name).symlink_to(usual / name)
        # Proxies and the context go on to hold, logins do not: a password would end up in somebody's keychain.
        kept = json.loads((usual / "config.json").read_text()) if (usual / "config.json").exists() else {}
        # An entry, if of nobody: where there is none, Docker looks for a keychain by itself.
        bare = {key: value for key, value in kept.items() if key not in LOGINS} | {"auths": {"nobody.invalid": {}}}
        (Path(folder) / "config.json").write_text(json.dumps(bare), encoding="utf-8")
        variables = {**inherited, "DOCKER_CONFIG": folder}
        host = HOST.match(image)
        _docker(["login", "--username", user, "--password-stdin", *([host[1]] if host else [])], variables, password)
        yield variables


def _found(image: str, variables: dict[str, str]) -> Entry | None:
    """Look up the tag of the image in the registry; None if it is free."""
    insecure = ["--insecure"] if _is_insecure(image, variables) else []
    command = ["docker", "manifest", "inspect", "--verbose", *insecure, image]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        if NOT_THERE.search(done.stderr):
            return None
        raise ServiceError(Fault(f"the registry cannot be asked for {image}: {done.stderr.strip()}"))
    found = json.loads(done.stdout)
    if isinstance(found, list):
        raise ServiceError(Fault(f"{image} is a list of images in the registry, for platforms or attestations"))
    manifest = found.get("SchemaV2Manifest") or found.get("OCIManifest") or {}
    return Entry(found["Descriptor"]["digest"], manifest.get("config", {}).get("digest", ""))


def _is_insecure(image: str, variables: dict[str, str]) -> bool:
    """Whether Docker uses this registry without TLS; `docker manifest` needs to be told separately."""
    host = HOST.match(image)
    if host is None:
        return False
    known = json.loads(_docker(["info", "--format={{json .RegistryConfig}}"], variables))
    if not known["IndexConfigs"].get(host[1], {"Secure": True})["Secure"]:
        return True
    try:
        address = ip_address("127.0.0.1" if host[2] == "localhost" else host[2])
    except ValueError:
        return False
    return any(address in ip_network(network) for network in known["InsecureRegistryCIDRs"])


def _docker(arguments: list[str], variables: dict[str, str], stdin: str = "", shown: bool = False) -> str:
    stdout = None if shown else subprocess.PIPE
    done = subprocess.run(
        ["docker", *arguments], input=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, env=variables
    )
    if done.returncode:
        raise ServiceError(Fault(f"docker {arguments[0]} failed: {done.stderr.strip()}"))
    return done.stdout or ""


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case ["push", *options] if set(options) <= {"--allow-unclean"}:
            pushed = push(load_delivery_settings().root, bool(options), os.environ)
            name = f"{pushed['repository']}@{pushed['digest']}"
            out.print(f"[bold green]Pushed[/] {pushed['image']}, {name}", highlight=False, soft_wrap=True)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    with faults_shown():
        main()
