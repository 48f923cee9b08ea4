"""Real clients of the Open Inference Protocol, Triton's, MLServer's and KServe's, against the example service."""

import json
import os
import shutil
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

CLIENTS = {
    "triton_client.py": ("tritonclient[http,grpc]", "pandas"),
    "mlserver_client.py": ("mlserver", "pandas<3"),  # it does not know the text of pandas 3
    "kserve_client.py": ("kserve",),
}
"""Scripts that ask by clients, and what these are installed from."""
NAMES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "island", "year")
ROWS = [
    dict(zip(NAMES, row, strict=True))
    for row in ((39.1, 18.7, 181.0, 3750.0, "Dream", 2007), (47.5, 14.2, 209.0, 4600.0, "Biscoe", 2009))
]


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Finds a Python with a script's clients; `INFERENCE_CLIENTS_PYTHONS` may name such, in the order of `CLIENTS`."""
    known = dict(zip(CLIENTS, os.environ.get("INFERENCE_CLIENTS_PYTHONS", "").split(), strict=False))

    def python(script: str) -> str:
        if script not in known:
            folder = tmp_path_factory.mktemp("clients")
            uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
            run([uv, "venv", "--quiet", "--allow-existing", f"--python={sys.executable}", str(folder)], folder)
            run([uv, "pip", "install", "--quiet", f"--python={folder}", *CLIENTS[script]], folder)
            known[script] = str(folder / "bin/python")
        return known[script]

    return python


@pytest.fixture
def addresses(equipped: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The penguins, trained and served, over HTTP and over gRPC."""
    project, port, grpc_port = equipped("penguins"), free_port(), free_port()
    monkeypatch.setenv("SERVICE__API__GRPC_PORT", str(grpc_port))
    with serving(project, port) as process:
        wait_until_ready(f"http://{HOST}:{port}", process)
        yield f"{HOST}:{port}", f"{HOST}:{grpc_port}"


@pytest.mark.parametrize("script", CLIENTS)
def test_every_client_gets_the_answers_that_predict_gives(
    addresses: tuple[str, str], client_python: Callable[[str], str], script: str
) -> None:
    command = [client_python(script), str(Path(__file__).with_name(script)), *addresses, "my-model", json.dumps(ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert all("'nothing' is not a feature" in refusal for refusal in found.pop("refusals", ()))
    body = json.dumps(ROWS).encode()
    request = urllib.request.Request(f"http://{addresses[0]}/predict/batch", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        expected = json.loads(response.read())["predictions"]
    assert len(found) >= 2
    for client, answers in found.items():
        assert answers["labels"] == [row["prediction"] for row in expected], client
        for ours, theirs in zip(expected, answers["probabilities"], strict=True):
            assert theirs == pytest.approx(list(ours["probabilities"].values()), abs=1e-9), client
