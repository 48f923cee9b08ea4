"""The conformance kit: all checks of a project, in the order in which they run."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_microservice.conformance.answers import check_answers, check_naming
from ml_microservice.conformance.context import Context
from ml_microservice.conformance.edges import check_edge_answers, check_edges
from ml_microservice.conformance.files import check_config, check_extras, check_features, check_gate, check_hooks
from ml_microservice.conformance.frame import check_frame_rules, check_load, check_split, check_target
from ml_microservice.conformance.model import check_alone, check_reading, check_storing, check_train
from ml_microservice.conformance.places import located
from ml_microservice.conformance.preprocessing import check_fit, check_requests, check_rows, check_stateless
from ml_microservice.errors import Fault, ServiceError


@dataclass(frozen=True)
class Check:
    """One condition for training and serving a project."""

    name: str
    title: str
    """What holds if the check passes."""
    run: Callable[[Context], Iterable[Fault]]
    """Yields the faults, and sets attributes of the context for later checks; may raise a ServiceError."""
    needs: tuple[str, ...] = ()
    """The checks that have to pass before this one can run."""


@dataclass(frozen=True)
class Result:
    """The result of a check."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    faults: tuple[Fault, ...] = ()


CHECKS = (
    Check("config", "config.yaml can be used", check_config),
    Check("extras", "What config.yaml asks for is installed", check_extras, ("config",)),
    Check("features", "features.yaml can be used", check_features, ("config",)),
    Check("gate", "The gate in config.yaml names known metrics", check_gate, ("features",)),
    Check("hooks", "The hooks exist and take their arguments", check_hooks, ("config",)),
    Check("load", "DataLoader returns a frame, of no more rows than asked for", check_load, ("hooks",)),
    Check("frame", "The frame keeps the rules of features.yaml", check_frame_rules, ("features", "load")),
    Check("target", "No feature repeats the target", check_target, ("frame",)),
    Check("split", "There are rows enough to train on and to hold out", check_split, ("frame",)),
    Check("fit", "Preprocessor fits and transforms the training rows", check_fit, ("split",)),
    Check("rows", "transform keeps the rows, their order and its input", check_rows, ("fit",)),
    Check(
        "stateless",
        "transform gives a row the same result, whatever came before and beside it",
        check_stateless,
        ("rows",),
    ),
    Check("requests", "A request is transformed like the same row in training", check_requests, ("stateless",)),
    Check("edges", "transform accepts every valid request", check_edges, ("rows",)),
    Check("train", "train_model returns a model that predicts", check_train, ("fit",)),
    Check("answers", "The predictions of the model can be served", check_answers, ("train",)),
    Check("naming", "get_classes names the classes in the model's order", check_naming, ("answers",)),
    Check(
        "alone",
        "The model gives a row the same prediction, whatever came before and beside it",
        check_alone,
        ("answers", "requests"),
    ),
    Check("edge_answers", "The model predicts every valid request", check_edge_answers, ("answers", "edges")),
    Check("storing", "Preprocessor and model can be stored", check_storing, ("train",)),
    Check("reading", "Read back, they give the same predictions", check_reading, ("storing", "alone")),
)


def run_checks(root: Path, *, n_rows: int | None = None) -> Iterator[Result]:
    """Run the checks on the project in `root`; a check is skipped if one of its prerequisites did not pass.

    Args:
        root: the folder of the project.
        n_rows: the most rows to load; None loads all.
    """
    context = Context(root.resolve(), n_rows)
    passed: set[str] = set()
    for check in CHECKS:
        if not passed.issuperset(check.needs):
            yield Result(check, "skipped")
            continue
        faults = tuple(located(fault, context) for fault in _faults(check, context))
        if not faults:
            passed.add(check.name)
        yield Result(check, "failed" if faults else "passed", faults)


def _faults(check: Check, context: Context) -> list[Fault]:
    faults: list[Fault] = []
    try:
        for fault in check.run(context):
            faults.append(fault)  # kept if the check raises afterwards
    except ServiceError as error:
        faults += error.faults
    except Exception as error:
        # An unforeseen error must not hide the results of the other checks.
        message = f"the check {check.name!r} stopped: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        faults.append(Fault(message, advice="if none of these lines is yours, please report it"))
    return faults
