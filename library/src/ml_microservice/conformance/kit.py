"""All checks, in the order in which they run: each is a function from what is known so far to the faults it finds."""

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
    """One thing that has to hold before a project can be trained and served."""

    name: str
    title: str
    """What holds where the check passes."""
    run: Callable[[Context], Iterable[Fault]]
    """Finds the faults, and fills the context for the checks that need this one; may raise a ServiceError."""
    needs: tuple[str, ...] = ()
    """Checks without which this one could say nothing."""


@dataclass(frozen=True)
class Result:
    """What came of a check."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    faults: tuple[Fault, ...] = ()


CHECKS = (
    Check("config", "config.yaml can be used", check_config),
    Check("extras", "What config.yaml asks for is installed", check_extras, ("config",)),
    Check("features", "features.yaml can be used", check_features, ("config",)),
    Check("gate", "config.yaml's gate names metrics that there are", check_gate, ("features",)),
    Check("hooks", "The hooks are there and take what they are given", check_hooks, ("config",)),
    Check("load", "DataLoader returns a frame, of no more rows than asked for", check_load, ("hooks",)),
    Check("frame", "The frame keeps the rules of features.yaml", check_frame_rules, ("features", "load")),
    Check("target", "No feature repeats the target", check_target, ("frame",)),
    Check("split", "There are rows enough to train on and to hold out", check_split, ("frame",)),
    Check("fit", "Preprocessor fits and transforms the training rows", check_fit, ("split",)),
    Check("rows", "transform keeps the rows, their order and its input", check_rows, ("fit",)),
    Check("stateless", "transform gives a row the same result at any time, in any company", check_stateless, ("rows",)),
    Check("requests", "A request is transformed as the same row was in training", check_requests, ("stateless",)),
    Check("edges", "transform takes whatever a request may carry", check_edges, ("rows",)),
    Check("train", "train_model returns a model that predicts", check_train, ("fit",)),
    Check("answers", "The model's answers can be served", check_answers, ("train",)),
    Check("naming", "get_classes names the classes in the model's order", check_naming, ("answers",)),
    Check("alone", "The model answers a row alike at any time, in any company", check_alone, ("answers", "requests")),
    Check("edge_answers", "The model answers whatever a request may carry", check_edge_answers, ("answers", "edges")),
    Check("storing", "Preprocessor and model can be stored", check_storing, ("train",)),
    Check("reading", "Read back, they answer as before", check_reading, ("storing", "alone")),
)


def run_checks(root: Path, *, n_rows: int | None = None) -> Iterator[Result]:
    """Check the project in `root`, one result at a time; a check whose prerequisites did not pass is skipped.

    Args:
        root: the project's folder.
        n_rows: load at most so many rows; None is all.
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
            faults.append(fault)  # one by one, so that those found before an error are kept
    except ServiceError as error:
        faults += error.faults
    except Exception as error:
        # Something that no check foresaw must not hide what the others find.
        message = f"the check {check.name!r} broke off: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        faults.append(Fault(message, advice="if none of these lines is yours, please report it"))
    return faults
