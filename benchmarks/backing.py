"""RabbitMQ, Redis and PostgreSQL for jobs: on free ports, on the servers' core, and ended afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.environments import BenchError, run
from benchmarks.process import HOST, SERVER_CORE, free_ports, started, wait_for

RABBITMQ_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin")
"""Of the program itself: what is on the PATH may be a wrapper that wants to be another user."""


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """A RabbitMQ with nothing in it; its URL, to which the password is `guest`.

    Raises:
        BenchError: it is not installed, or does not start.
    """
    server = _program("rabbitmq-server", *RABBITMQ_FOLDERS)
    port, mapper = free_ports(), free_ports()
    _emptied(folder)
    env = {
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(port + 1),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "no_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(mapper),
        "HOME": str(folder),
    }
    try:
        with started([server], cwd=folder, env=env, log=folder / "out.txt") as process:
            wait_for(process, lambda: _takes_amqp(port), folder / "out.txt")
            yield f"amqp://guest@{HOST}:{port}//"
    finally:
        # A daemon by which Erlang's nodes find each other; it outlives them.
        subprocess.run(["epmd", "-kill"], env={**os.environ, **env}, capture_output=True, check=False)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis with nothing in it; its URL.

    Raises:
        BenchError: it is not installed, or does not start.
    """
    port, server = free_ports(), _program("redis-server")
    _emptied(folder)
    command = [server, "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(folder)]
    with started(command, cwd=folder, env={}, log=folder / "out.txt") as process:
        wait_for(process, lambda: _takes(port, b"PING\r\n", b"+PONG"), folder / "out.txt")
        yield f"redis://{HOST}:{port}/0"


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL with an empty database, as it comes; SQLAlchemy's URL, without a password.

    Raises:
        BenchError: it is not installed, or does not start.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    programs = found[-1] if found else Path(_program("initdb")).resolve().parent
    # In a folder that its own user may enter: it refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="bench-postgresql-"))
    user = "postgres" if os.geteuid() == 0 else None
    who = dict(zip(("user", "group"), pwd.getpwnam(user)[2:4], strict=True)) if user else {}
    port, data = free_ports(), folder / "data"

    def command(program: str, *arguments: str) -> None:
        on_core = ["taskset", "-c", str(SERVER_CORE), str(programs / program), *arguments]
        # Its output is no pipe: the server keeps it open.
        with (folder / "out.txt").open("ab") as out:
            done = subprocess.run(on_core, stdout=out, stderr=out, cwd=folder, check=False, **who)  # type: ignore[call-overload]
        if done.returncode:
            raise BenchError(f"{program} failed: {(folder / 'out.txt').read_text()[-800:]}")

    if user:
        shutil.chown(folder, user)
    try:
        command("initdb", "-D", str(data), "-A", "trust", "-U", "postgres")
        options = f"-c listen_addresses={HOST} -p {port} -k {folder}"
        command("pg_ctl", "-D", str(data), "-o", options, "-w", "start")
        try:
            command("createdb", "-h", HOST, "-p", str(port), "-U", "postgres", "bench")
            yield f"postgresql+psycopg://postgres@{HOST}:{port}/bench"
        finally:
            command("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def installed_versions() -> dict[str, str]:
    """What is there of the three, each with its version."""
    found = {}
    for name, command in (("redis", ["redis-server", "--version"]), ("postgresql", ["psql", "--version"])):
        with suppress(BenchError, OSError):
            found[name] = run(command).strip().replace("Redis server v=", "").split(" sha=")[0]
    for folder in RABBITMQ_FOLDERS:
        for path in sorted(Path(folder).parent.glob("lib/rabbitmq_server-*")):
            found["rabbitmq"] = path.name.rpartition("-")[2]
    return found


def _program(name: str, *folders: str) -> str:
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        raise BenchError(f"{name} is not installed: apt-get install rabbitmq-server redis-server postgresql")
    return found


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _takes_amqp(port: int) -> bool:
    return _takes(port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00")


def _takes(port: int, sent: bytes, expected: bytes) -> bool:
    """Whether what listens there answers as it should."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(sent)
        return connection.recv(64).startswith(expected)
    return False
