"""The secrets of the Jenkins controller, as files in jenkins/secrets: what can be made is made, the rest is named.

Usage: python3 scripts/jenkins_secrets.py [--check]

What is there stays as it is, but is opened to the container's user. With --check nothing is written; the exit code is 1
if a secret is missing that the controller's configuration refers to, since Jenkins would start with an empty one. It
needs nothing but Python.
"""

import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

JENKINS = Path(__file__).resolve().parents[1] / "jenkins"
REFERENCE = re.compile(r"\$\{(?:readFile(?:Base64)?:/run/secrets/)?([a-z][a-z0-9-]*)\}")
"""A secret in the configuration. What is in capitals is a variable of compose.yaml."""
CONTAINER_USER = 1000
MADE = re.compile(r"(?:admin|jobs|developers|deployers)-password|.+-retrain-token")
WHAT = {
    r"registry-user": "the user that pushes images",
    r"registry-password": "its password, or better a token",
    r"git-key": "a private SSH key that may read the projects' repositories",
    r"git-known-hosts": "the host keys of your git server: ssh-keyscan HOST, and compare them with what it publishes",
    r"agent-key": "a private SSH key for the agents; ssh-keygen makes it",
    r"agent-.+-host-key": "the agent's host key, `ssh-ed25519 AAAA...`, from its /etc/ssh/ssh_host_ed25519_key.pub",
    r"ldap-password": "the password of LDAP_MANAGER",
    r"oidc-secret": "the secret of OIDC_CLIENT",
    r".+-kubeconfig-.+": "a kubeconfig that may deploy into this environment's namespace, and nothing else",
    r".+-api-key-.+": "SERVICE__API__KEYS of this environment",
}
"""What has to be brought, and where it comes from."""


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """REALM and AGENTS, as compose.yaml sees them."""
    path = JENKINS / ".env"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    written = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    defaults = {"REALM": "local", "AGENTS": "inbound"}
    return {name: environment.get(name) or written.get(name) or value for name, value in defaults.items()}


def configuration(chosen: Mapping[str, str]) -> list[Path]:
    """The files that the controller reads.

    Raises:
        SystemExit: There is no such realm or kind of agents.
    """
    casc = JENKINS / "casc"
    files = [casc / "controller.yaml", casc / "credentials.yaml"]
    for name, folder in (("REALM", casc / "realm"), ("AGENTS", casc / "agents")):
        path = folder / f"{chosen[name]}.yaml"
        if not path.is_file():
            known = " or ".join(sorted(each.stem for each in folder.glob("*.yaml")))
            sys.exit(f"jenkins: {name}={chosen[name]}: there is no {path.relative_to(JENKINS.parent)}; take {known}")
        files.append(path)
    return [*files, *sorted((casc / "projects").glob("*.yaml"))]


def needed(files: list[Path]) -> list[str]:
    """The names of the secrets that files refer to, in their order."""
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    said = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return list(dict.fromkeys(REFERENCE.findall(said)))


def what(name: str) -> str:
    """What a secret is that has to be brought."""
    return next((text for pattern, text in WHAT.items() if re.fullmatch(pattern, name)), "see docs/pipelines.md")


def make(names: list[str], folder: Path) -> list[str]:
    """Write what can be made and is not there; its names.

    The container's user has to read these files, and nobody else on this machine: so the way to them is closed to
    others, and not the files. Docker goes past it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    folder.chmod(0o755)
    made = []
    for name in names:
        path = folder / name
        if path.exists():
            # Who brought it may have kept it to themselves; what is another user's, --check names.
            with suppress(PermissionError):
                path.chmod(0o644)
            continue
        if MADE.fullmatch(name):
            path.write_text(secrets.token_hex(24), encoding="utf-8")
        elif name == "agent-key" and shutil.which("ssh-keygen"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "jenkins", "-f", str(path)]
            subprocess.run(command, check=True)
            (folder / "agent-key.pub").replace(folder.parent / "agent-key.pub")
        else:
            continue
        path.chmod(0o644)
        made.append(name)
    return made


def missing(names: list[str], folder: Path) -> list[str]:
    """The secrets that are not there, empty, or closed to the container's user: Jenkins would take all for empty."""
    return [name for name in names if not _is_given(folder / name)]


def _is_given(path: Path) -> bool:
    if not path.is_file() or not path.read_bytes().strip():
        return False
    status = path.stat()
    return bool(status.st_mode & stat.S_IROTH) or status.st_uid == CONTAINER_USER


def main() -> None:
    """Make, or check, what this machine's settings need."""
    folder = JENKINS / "secrets/controller"
    names = needed(configuration(settings(os.environ)))
    if "--check" not in sys.argv:
        made = make(names, folder)
        print(f"Wrote to jenkins/secrets/controller: {', '.join(made) or 'nothing new'}")
    lacking = missing(names, folder)
    for name in lacking:
        print(f"  {name}: {'run make jenkins-secrets' if MADE.fullmatch(name) else what(name)}", file=sys.stderr)
    if lacking and "--check" in sys.argv:
        where = "in jenkins/secrets/controller"
        sys.exit(
            f"jenkins: these files are missing {where}, empty, or closed to Jenkins: make jenkins-secrets opens them"
        )
    if lacking:
        print("Those you have to bring, each as a file of that name in jenkins/secrets/controller", file=sys.stderr)


if __name__ == "__main__":
    main()
