"""The served API against its own documentation: requests made up from the OpenAPI document, valid and not."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import run
from demo import HOST, free_port, serving, wait_until_ready

pytestmark = [pytest.mark.t3, pytest.mark.slow]

# Whether a request is refused is not asked: a batch answers bad rows one by one with 200, and JSON Schema takes 2007.0
# for an integer.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


def test_no_request_gets_an_answer_that_is_not_documented(trained: Callable[[str], Path], tmp_path: Path) -> None:
    port = free_port()
    base = f"http://{HOST}:{port}"
    with serving(trained("penguins"), port) as process, working(trained("penguins")):
        wait_until_ready(base, process)
        attack = [f"{base}/openapi.json", "--checks", ",".join(CHECKS), "--phases=examples,coverage,fuzzing,stateful"]
        attack += ["--seed=1", "--max-examples=200"]
        # /monitoring is computed by a process of low priority, which has to import first. Jobs are waited for.
        attack.append("--request-timeout=120")
        program = str(Path(sys.executable).with_name("schemathesis"))
        run([program, "run", *attack, "--no-color"], tmp_path, NO_PROXY=HOST)


@contextmanager
def working(project: Path) -> Iterator[None]:
    """A worker that does the jobs, as long as the block lasts."""
    command = [str(project / ".venv/bin/ml-service"), "worker", "--concurrency", "1"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
