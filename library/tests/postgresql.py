"""A PostgreSQL server of the tests' own, and an empty database for each test, on it or in SQLite."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ml_microservice.settings import Settings, load_settings
from tests.ports import free_port

CONFIG = "name: houses\nid_name: house id\n"


class Server:
    """PostgreSQL on a free port, which can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._folder = folder
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._port = free_port()
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-N", "-U", "postgres")
        self._databases = count()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def new_database(self) -> str:
        """The URL of a database with nothing in it."""
        name = f"records{next(self._databases)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres", name)
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if self._user:
            uid, gid = pwd.getpwnam(self._user)[2:4]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, cwd=self._folder, user=uid, group=gid)
        else:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, cwd=self._folder)
        assert done.returncode == 0, command


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's newest programs, where they are installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server that runs."""
    programs = postgresql_programs()
    if programs is None:
        reason = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))
    server = Server(programs, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_settings(postgresql: Server, tmp_path: Path) -> Settings:
    """Settings of a project whose database, on PostgreSQL, is empty."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return load_settings(tmp_path, {"SERVICE__DATABASE__URL": postgresql.new_database()})


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a project whose database is empty: on SQLite, and on PostgreSQL."""
    if request.param == "postgresql":
        made: Settings = request.getfixturevalue("postgresql_settings")
        return made
    (tmp_path / "config.yaml").write_text(CONFIG)
    return load_settings(tmp_path, {})
