"""Checks of the two YAML files, and of the hooks' names and parameters."""

import inspect
from collections.abc import Iterator
from typing import Any

from ml_microservice.conformance.context import Context
from ml_microservice.delivery.settings import load_delivery_settings
from ml_microservice.errors import Fault
from ml_microservice.evaluation import METRICS, METRICS_OF
from ml_microservice.extras import how_to_install, is_installed
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.features_file import check_features as read_features
from ml_microservice.gate.verdict import unknown_metrics
from ml_microservice.settings import CONFIG_FILE, Settings
from ml_microservice.training.hooks import LOADER_FILE, TRAIN_FILE, load_hooks
from ml_microservice.yaml_file import read_yaml


def check_config(context: Context) -> Iterator[Fault]:
    """Read `config.yaml` and the environment, including the sections that only delivery reads."""
    context.settings = load_delivery_settings(context.root)
    yield from ()


def check_extras(context: Context) -> Iterator[Fault]:
    """Look for the libraries that settings of `config.yaml` need: a service would miss them once it has to use them."""
    for setting, extra in _wanted_extras(context.settings):
        if not is_installed(extra):
            message = f"{setting} needs the extra {extra!r}, which is not installed"
            yield Fault(message, CONFIG_FILE, advice=how_to_install(extra))


def _wanted_extras(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that need more than the base install, each with its extra."""
    jobs = settings.jobs
    asked = (
        ("api.grpc_port", "grpc", settings.api.grpc_port is not None),
        ("records.sinks", "fluentd", "fluentd" in settings.records.sinks),
        ("database.url", "postgres", settings.database.url.startswith("postgresql")),
        ("jobs.broker", "jobs", bool(jobs.broker)),
        ("jobs.broker", "redis", (jobs.broker or "").startswith("redis")),
        ("jobs.storage", "storage", "://" in jobs.storage),
        ("tracing.endpoint", "tracing", settings.tracing.endpoint is not None),
        ("training.engine", "dask", settings.training.engine == "dask"),
    )
    yield from ((setting, extra) for setting, extra, is_asked in asked if is_asked)


def check_features(context: Context) -> Iterator[Fault]:
    """Read `features.yaml`, which may leave types and the task to the training frame."""
    settings = context.settings
    context.features = read_yaml(settings.features_file, FEATURES_FILE)
    context.draft = read_features(context.features, settings.id_name)
    context.task = context.draft.task
    yield from ()


def check_gate(context: Context) -> Iterator[Fault]:
    """Look up the metrics that `gate` names, so that a misspelt name is reported before a long training run."""
    known = METRICS_OF[context.task] if context.task else tuple(METRICS)
    yield from unknown_metrics(context.settings, known)


def check_hooks(context: Context) -> Iterator[Fault]:
    """Import the hooks, and see that each takes the arguments that training and serving will pass."""
    hooks = context.hooks = load_hooks(context.root, context.task)
    yield from _refusals("DataLoader", hooks.data_loader, (), "__init__(self)", LOADER_FILE)
    yield from _method_refusals("DataLoader", hooks.data_loader, "load_data", ("n_rows",), "n_rows=None", LOADER_FILE)
    yield from _refusals("Preprocessor", hooks.preprocessor, (), "__init__(self)", TRAIN_FILE)
    yield from _method_refusals("Preprocessor", hooks.preprocessor, "fit", ("X", "y"), "X, y=None", TRAIN_FILE)
    yield from _method_refusals("Preprocessor", hooks.preprocessor, "transform", ("X",), "X", TRAIN_FILE)
    yield from _refusals("train_model", hooks.train_model, ("X", "y"), "train_model(X, y)", TRAIN_FILE)
    if hooks.get_classes is not None:
        yield from _refusals("get_classes", hooks.get_classes, ("model",), "get_classes(model)", TRAIN_FILE)


def _method_refusals(
    owner: str, hook: Any, name: str, given: tuple[str, ...], wanted: str, file: str
) -> Iterator[Fault]:
    if not inspect.isclass(hook):  # a function: what it returns is checked when it is called
        return
    method = getattr(hook, name, None)
    if not callable(method):
        yield Fault(f"{owner} has no method {name}", file, advice=f"write: def {name}(self, {wanted})")
        return
    # Looked up on the class, an ordinary method takes `self` first.
    needs_self = inspect.isfunction(method) and not isinstance(inspect.getattr_static(hook, name), staticmethod)
    given = ("self", *given) if needs_self else given
    yield from _refusals(f"{owner}.{name}", method, given, f"{name}(self, {wanted})", file)


def _refusals(name: str, hook: Any, given: tuple[str, ...], wanted: str, file: str) -> Iterator[Fault]:
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # written in C: it is checked when it is called
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        words = ", ".join(word for word in given if word != "self") or "no argument"
        yield Fault(f"{name} does not take {words}: {error}", file, advice=f"write it as: def {wanted}")
