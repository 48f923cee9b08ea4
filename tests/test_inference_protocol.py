"""Real clients of the Open Inference Protocol, Triton's and MLServer's, against the example service."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from demo import HOST, free_port, serving, wait_until_ready

pytestmark = [pytest.mark.t3, pytest.mark.slow]

PACKAGES = ("tritonclient[http]", "mlserver", "pandas<3")  # MLServer does not know the text of pandas 3
CLIENTS = Path(__file__).with_name("inference_clients.py")
NAMES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "island", "year")
ROWS = [
    dict(zip(NAMES, row, strict=True))
    for row in ((39.1, 18.7, 181.0, 3750.0, "Dream", 2007), (47.5, 14.2, 209.0, 4600.0, "Biscoe", 2009))
]


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with the clients; `INFERENCE_CLIENTS_PYTHON` names one that has them already."""
    known = os.environ.get("INFERENCE_CLIENTS_PYTHON")
    if known:
        return known
    folder = tmp_path_factory.mktemp("clients")
    run([sys.executable, "-m", "venv", str(folder)], folder)
    run([str(folder / "bin/pip"), "install", "--quiet", *PACKAGES], folder)
    return str(folder / "bin/python")


@pytest.fixture
def address(trained: Callable[[str], Path]) -> Iterator[str]:
    """The penguins, trained and served."""
    project, port = trained("penguins"), free_port()
    with serving(project, port) as process:
        wait_until_ready(f"http://{HOST}:{port}", process)
        yield f"{HOST}:{port}"


def test_tritonclient_and_mlserver_get_the_answers_that_predict_gives(address: str, client_python: str) -> None:
    command = [client_python, str(CLIENTS), address, "my-model", json.dumps(ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "'nothing' is not a feature" in found.pop("refusal")
    body = json.dumps(ROWS).encode()
    request = urllib.request.Request(f"http://{address}/predict/batch", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        expected = json.loads(response.read())["predictions"]
    assert len(found) == 3
    for client, answers in found.items():
        assert answers["labels"] == [row["prediction"] for row in expected], client
        for ours, theirs in zip(expected, answers["probabilities"], strict=True):
            assert theirs == pytest.approx(list(ours["probabilities"].values()), abs=1e-9), client
