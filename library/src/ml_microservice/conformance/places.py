"""The line to open for a fault that names its file only: of the feature, or of the hook, that its words begin with."""

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
    """The fault with the line that it is about, where that can be told."""
    if fault.line is not None:
        return fault
    known = vars(context)  # what no check has made yet is absent
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
    """Where a hook is written: its method, or the whole of it where the method is inherited from a library."""
    for written in (inspect.unwrap(getattr(hook, method, hook)), hook):
        try:
            file = own_file(inspect.getsourcefile(written) or "")
            line = inspect.getsourcelines(written)[1]
        except (TypeError, OSError):
            continue
        if file is not None:
            return file, line
    return None
