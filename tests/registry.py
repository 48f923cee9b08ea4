"""A registry of images of the tests' own: Debian's `docker-registry`, on the loopback, with passwords or without."""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import yaml

from demo import free_port

PROGRAM = "docker-registry"
"""Of Debian's package of that name."""
START_SECONDS = 20


@contextmanager
def registry(folder: Path, users: dict[str, str] | None = None) -> Iterator[str]:
    """A registry that keeps what it has in a folder; its address, `127.0.0.1:PORT`. It lets tags be moved.

    Args:
        folder: which goes away with it.
        users: passwords by name; nobody is asked for one without.
    """
    folder.mkdir(parents=True)
    port = free_port()
    configuration = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if users is not None:
        lines = [f"{name}:{_bcrypt(password)}\n" for name, password in users.items()]
        (folder / "htpasswd").write_text("".join(lines))
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(configuration))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    command = [PROGRAM, "serve", str(folder / "config.yml")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM} does not start:\n{(folder / 'log').read_text()[-2000:]}")
            sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def missing() -> list[str]:
    """What has to be installed first."""
    return [] if shutil.which(PROGRAM) else [PROGRAM]


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True


def _bcrypt(password: str) -> str:
    # The system's crypt(3), which Perl has on every Debian and Python no longer has.
    script = 'print crypt($ARGV[0], q{$2b$05$} . join("", map { chr(97 + int(rand(26))) } 1 .. 21) . "u")'
    done = subprocess.run(["perl", "-e", script, password], capture_output=True, text=True, check=True)
    if not done.stdout.startswith("$2b$"):
        sys.exit("crypt(3) of this machine knows no bcrypt")
    return done.stdout
