"""The extras of this distribution: whether what one brings is installed, and how to install it."""

from importlib.util import find_spec

MODULES = {
    "arrow": "pyarrow",
    "dask": "distributed",
    "fluentd": "msgpack",
    "grpc": "grpc",
    "jobs": "celery",
    "onnx": "onnxruntime",
    "postgres": "psycopg",
    "redis": "redis",
    "storage": "fsspec",
    "tracing": "opentelemetry.exporter.otlp.proto.http",
}
"""By extra, the module by which one sees that it is there."""


def is_installed(extra: str) -> bool:
    """Whether the libraries of an extra can be imported; they are looked for, not imported."""
    try:
        return find_spec(MODULES[extra]) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def how_to_install(extra: str) -> str:
    """The line of `pyproject.toml` to change, on a machine; for an image it is one of `config.yaml`."""
    return f"add {extra!r} to ml-microservice[...] in pyproject.toml, then 'make setup'; for an image, to image.extras"
