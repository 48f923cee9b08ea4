"""The line of a fault that names only its file: the line of the feature or the hook in its message."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ml_microservice.conformance.context import Context
from ml_microservice.errors import Fault
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.training.hooks import LOADER_FILE, TRAIN_FILE, Hooks, own_file

HOOK = re.compile(r"Preprocessor(?:\.\w+)?|load_data|DataLoader|get_classes|train_model|predict(?:_proba)?")


def located(fault: Fault, context: Context) -> Fault:
    """Add the line to a fault, if it can be found."""
    if fault.line is not None:
        return fault
    known = vars(context)  # only the attributes that checks have set
    if fault.file == FEATURES_FILE and "features" in known:
        return replace(fault, line=_line_in_features(fault.message, context))
    if fault.file in (LOADER_FILE, TRAIN_FILE) and "hooks" in known:
        file, line = _place_of_hook(fault, context.hooks)
        return replace(fault, file=file, line=line)
    return fault


def _line_in_features(message: str, context: Context) -> int | None:
    document = context.features
    listed = isinstance(document.data, list)
    names = context.draft.names if "draft" in vars(context) else []
    for index, name in enumerate(names):
        if re.search(rf"\bfeature {re.escape(repr(name))}(?!\w)", message):
            return document.line((index,) if listed else ("features", index))
    return document.line(("target",)) if message.startswith("target ") else None


def _place_of_hook(fault: Fault, hooks: Hooks) -> tuple[str | None, int | None]:
    if fault.file == LOADER_FILE:
        return _place(hooks.data_loader, "load_data") or (fault.file, None)
    match = HOOK.search(f"{fault.message.partition(chr(10))[0]} {fault.advice}")
    name = match[0] if match else ""
    hook: Callable[..., Any] | None = hooks.train_model
    if name == "get_classes":
        hook = hooks.get_classes
    elif name.startswith("Preprocessor"):
        hook = hooks.preprocessor
    elif not name:
        return fault.file, None
    return _place(hook, name.partition(".")[2]) or (fault.file, None)


def _place(hook: Any, method: str) -> tuple[str, int] | None:
    """File and line of a hook's method, or of the hook if a library defines the method."""
    for written in (inspect.unwrap(getattr(hook, method, hook)), hook):
        try:
            file = own_file(inspect.getsourcefile(written) or "")
            line = inspect.getsourcelines(written)[1]
        except (TypeError, OSError):
            continue
        if file is not None:
            return file, line
    return None
