"""The extras: each that code asks for is one of this distribution, and is told by a library of its own."""

import re
import tomllib
from pathlib import Path

from ml_microservice import extras

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
DISTRIBUTIONS = {"fluentd": "msgpack", "grpc": "grpcio", "tracing": "opentelemetry-exporter-otlp-proto-http"}
"""Of modules that are not called as their distribution."""


def test_each_extra_is_told_by_a_library_that_it_brings() -> None:
    brought = {
        extra: {re.split(r"[\[><=]", requirement)[0] for requirement in requirements}
        for extra, requirements in PYPROJECT["project"]["optional-dependencies"].items()
    }
    for extra, module in extras.MODULES.items():
        assert DISTRIBUTIONS.get(extra, module) in brought[extra]
        assert extras.is_installed(extra), extra
