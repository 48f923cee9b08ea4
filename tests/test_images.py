"""The Dockerfiles and what builds by them, without a Docker."""

import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bake import TEMPLATE
from conftest import run

pytestmark = pytest.mark.t1

IMAGES = ("runtime-image", "production-image")


@pytest.mark.parametrize("image", IMAGES)
def test_a_dockerfile_is_clean_under_hadolint(image: str, baked: Callable[[str], Path]) -> None:
    hadolint = shutil.which("hadolint") or str(Path(sys.executable).with_name("hadolint"))
    run([hadolint, "--failure-threshold=style", f"dockerfiles/{image}/Dockerfile"], baked("penguins"))


def test_the_image_has_extras_that_exist_and_no_tools(baked: Callable[[str], Path]) -> None:
    from ml_microservice.delivery.settings import load_delivery_settings

    project = baked("penguins")
    extras = load_delivery_settings(project, {}).image.extras
    known: set[str] = set()
    for folder in (project, project / "vendor/ml-microservice"):
        known |= tomllib.loads((folder / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    assert set(extras) <= known
    assert not {"dev", "train", "dask", "monitoring"} & set(extras)


def test_dockerignore_names_what_is_in_an_image_and_leaves_out_all_else(baked: Callable[[str], Path]) -> None:
    rules = (baked("penguins") / ".dockerignore").read_text().splitlines()
    named = [rule for rule in rules if rule and not rule.startswith("#")]
    assert named[0] == "*"
    assert [rule for rule in named if rule.startswith("!")] == [
        "!config.yaml",
        "!model_bin",
        "!src",
    ]


def test_no_dockerfile_needs_a_frontend_from_elsewhere() -> None:
    for image in IMAGES:
        text = (TEMPLATE / "{{cookiecutter.project_slug}}/dockerfiles" / image / "Dockerfile").read_text()
        assert "# syntax=" not in text
