"""Generated projects, run: each in an environment of only its own dependencies, by its own Makefile."""

from collections.abc import Callable
from pathlib import Path
from urllib.request import Request

import pytest

from conftest import STARTERS, make
from demo import HOST, example_request, free_port, open_url, post, serving, wait_until_ready

pytestmark = pytest.mark.t2

each = pytest.mark.parametrize("starter", STARTERS)


@pytest.mark.parametrize("starter", [starter for starter in STARTERS if starter != "penguins"])
def test_the_tests_of_its_own_hooks_pass(starter: str, installed: Callable[[str], Path]) -> None:
    make(installed(starter), "test", "ARGS=tests/model tests/service/test_project.py")


@each
def test_its_hooks_and_its_yaml_files_fit_each_other(starter: str, installed: Callable[[str], Path]) -> None:
    make(installed(starter), "check")


@each
def test_it_trains_serves_predicts_and_stops_when_told(starter: str, trained: Callable[[str], Path]) -> None:
    project, port = trained(starter), free_port()
    with serving(project, port) as process:  # raises unless SIGTERM ends it with exit code 0
        base = f"http://{HOST}:{port}"
        wait_until_ready(base, process)
        answer = post(f"{base}/predict", example_request(project))
        documentation = open_url(Request(f"{base}/docs"))
    if starter == "diabetes":
        assert 25 <= answer["prediction"] <= 346
        assert "probabilities" not in answer
    else:
        assert answer["prediction"] in answer["probabilities"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert (project / "model_bin" / answer["model_version"] / "report.html").stat().st_size > 10_000
    assert b"openapi.json" in documentation


def test_setup_is_done_again_only_when_the_dependencies_changed(installed: Callable[[str], Path]) -> None:
    project = installed("penguins")
    assert "Nothing to be done" in make(project, "setup")
    assert "--editable" in make(project, "setup", "--dry-run", "--what-if=pyproject.toml")
