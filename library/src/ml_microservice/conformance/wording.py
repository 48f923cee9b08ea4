"""The words of a hook's error: what the hook was given, and what to do about it."""

from collections.abc import Iterator

from ml_microservice.conformance.context import Context
from ml_microservice.errors import Fault, HookError, listed
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.training.hooks import raised


def given(error: HookError, hook: str, words: str, advice: str | None = None) -> Fault:
    """The fault of a hook that fails on the rows that `words` describe."""
    if error.__cause__ is not None:
        fault = raised(f"{hook}, given {words},", error.__cause__)
        return Fault(fault.message, fault.file, fault.line, advice)
    fault = error.faults[0]
    return Fault(f"{fault.message}, given {words}", fault.file, fault.line, advice or fault.advice)


def about_columns(error: HookError, context: Context) -> Iterator[Fault]:
    """The faults of an error; if its message names a column that is not a feature, with advice about that column."""
    said = " ".join(str(cause) for cause in _causes(error))
    names = {str(column) for column in context.frame.columns} - set(context.spec.names)
    missed = sorted(name for name in names if repr(name) in said)
    for fault in error.faults:
        if not missed:
            yield fault
        elif context.spec.target in missed:
            advice = f"X holds the features only, as a request does: the target {context.spec.target!r} is y, in fit"
            yield Fault(fault.message, fault.file, fault.line, advice)
        else:
            names_of_them = listed(map(repr, missed))
            advice = f"X holds the features only: add {names_of_them} to {FEATURES_FILE}, or do without"
            yield Fault(fault.message, fault.file, fault.line, advice)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
