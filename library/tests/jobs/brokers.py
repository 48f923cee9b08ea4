"""Brokers of the tests' own, which can be killed and started again: RabbitMQ, Redis, and a folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from amqp.exceptions import AMQPError
from kombu import Connection

from tests import waiting
from tests.ports import free_port

until = partial(waiting.until, seconds=120)
QUEUES = ("houses.jobs", "houses.jobs.bulk", "houses.jobs.dead")


class RabbitMQ:
    """RabbitMQ on a free port of 127.0.0.1, with a port mapper of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._port, mapper = free_port(), free_port()
        self.url = f"amqp://guest@127.0.0.1:{self._port}//"
        (folder / "enabled_plugins").write_text("[].\n")
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_NODENAME": f"jobs{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }
        self._mapper = _started(["epmd", "-port", str(mapper), "-address", "127.0.0.1"], self._environment, folder)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.begin()
        until(self._is_ready)

    def begin(self) -> None:
        """Start it."""
        self._server = _started([str(self._programs / "rabbitmq-server")], self._environment, self._folder)

    def kill(self) -> None:
        """End it at once, as a power loss would."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def close(self) -> None:
        """End everything."""
        self.kill()
        self._mapper.kill()
        self._mapper.wait()

    def empty(self) -> None:
        """Delete the queues."""
        with Connection(f"amqp://guest:guest@127.0.0.1:{self._port}//") as connection:
            for name in QUEUES:
                with connection.channel() as channel:
                    channel.queue_delete(name)

    def _is_ready(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "output").read_text()
        try:
            with Connection(f"amqp://guest:guest@127.0.0.1:{self._port}//", connect_timeout=5) as connection:
                connection.connect()
                return True
        except (OSError, AMQPError):
            return False


class Redis:
    """Redis on a free port of 127.0.0.1, which keeps nothing."""

    def __init__(self, program: str, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
        self._server = _started(command, {**os.environ}, folder)
        until(lambda: _is_listening(port))

    def close(self) -> None:
        """End it."""
        self._server.kill()
        self._server.wait()


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQ]:
    """A server that runs."""
    programs = Path("/usr/lib/rabbitmq/bin")
    if not programs.is_dir():
        _missing("RabbitMQ is not installed: apt-get install rabbitmq-server")
    with _folder("rabbitmq") as folder:
        server = RabbitMQ(programs, folder)
        try:
            server.start()
            yield server
        finally:
            server.close()


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitMQ) -> RabbitMQ:
    """A server that runs, without queues."""
    rabbitmq_server.empty()
    return rabbitmq_server


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A server that runs."""
    program = shutil.which("redis-server")
    if program is None:
        _missing("Redis is not installed: apt-get install redis-server")
    with _folder("redis") as folder:
        server = Redis(program, folder)
        try:
            yield server
        finally:
            server.close()


@pytest.fixture(params=[pytest.param("rabbitmq", marks=pytest.mark.slow), "redis", "folder"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of broker, with nothing in it."""
    if request.param == "folder":
        return "filesystem://var/jobs/messages"
    url: str = request.getfixturevalue(request.param).url
    return url


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A folder with a short path, as sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _started(command: Sequence[str], environment: dict[str, str], folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
