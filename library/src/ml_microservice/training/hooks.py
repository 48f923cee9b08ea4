"""The user's hooks: importing them, and reporting their errors with the user's own lines."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_microservice.errors import Fault, HookError, ServiceError, did_you_mean

PACKAGE_FILE = "src/model/__init__.py"
LOADER_FILE = "src/model/data_loader.py"
TRAIN_FILE = "src/model/train.py"


@dataclass(frozen=True)
class Hooks:
    """The hooks of a project."""

    data_loader: Callable[[], Any]
    """The class `DataLoader`."""
    preprocessor: Callable[[], Any]
    """The class `Preprocessor`."""
    train_model: Callable[[Any, Any], Any]
    get_classes: Callable[[Any], list[str]] | None
    """None for regression."""
    folder: Path
    """The folder of the package `model`."""


def load_hooks(root: Path, task: str | None) -> Hooks:
    """Import the package `model` of the project in `root`, even if another project's was imported before.

    Raises:
        HookError: modules cannot be imported, or hooks are missing; one fault for each.
    """
    if not (root / PACKAGE_FILE).is_file():
        # Without it, Python would import any other package of this name that it finds.
        advice = "restore it: an empty file is enough"
        raise HookError(Fault("there is no such file", file=PACKAGE_FILE, advice=advice))
    _import_from(root / "src")
    wanted = {LOADER_FILE: ("DataLoader",), TRAIN_FILE: ("Preprocessor", "train_model", "get_classes")}
    optional = () if task == "classification" else ("get_classes",)
    hooks: dict[str, Any] = {}
    faults: list[Fault] = []
    for file, names in wanted.items():
        try:
            module = _module(f"model.{Path(file).stem}", file)
        except HookError as error:
            faults += error.faults
            continue
        found = {name: getattr(module, name, None) for name in names}
        faults += [_missing(name, module, file) for name in names if name not in optional and not callable(found[name])]
        hooks |= found
    if faults:
        raise HookError(*faults)
    return Hooks(
        data_loader=hooks["DataLoader"],
        preprocessor=hooks["Preprocessor"],
        train_model=hooks["train_model"],
        get_classes=hooks["get_classes"],
        folder=root / "src" / "model",
    )


@contextmanager
def fresh_package() -> Iterator[None]:
    """Forget the package `model` within this context, so that unpickling imports it as a new process would."""
    mine = _forget_package()
    try:
        yield
    finally:
        _forget_package()
        sys.modules.update(mine)


@contextmanager
def calling(hook: str, file: str = TRAIN_FILE) -> Iterator[None]:
    """Turn an exception of a hook into a HookError that shows the user's own lines.

    Raises:
        HookError: the hook raised.
    """
    try:
        yield
    except ServiceError:
        raise
    except (Exception, SystemExit) as error:
        raise HookError(raised(hook, error, file)) from error


def raised(hook: str, error: BaseException, file: str = TRAIN_FILE) -> Fault:
    """The fault of an exception that a hook raised; `file` is named if no line of the traceback is the user's own."""
    message = f"{hook} raised {type(error).__name__}: {error}\n{own_traceback(error)}".rstrip()
    return Fault(message, *_place(error, file))


def own_traceback(error: BaseException) -> str:
    """The lines of a traceback that lie in the user's package."""
    return "".join(traceback.format_list(_own_frames(error)))


def own_file(filename: str) -> str | None:
    """The path of a file of the user's package, as `src/model/...`; None for any other file."""
    _, found, inside = Path(filename).as_posix().rpartition("/src/model/")
    return f"src/model/{inside}" if found else None


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if own_file(frame.filename)]


def _place(error: BaseException, otherwise: str) -> tuple[str | None, int | None]:
    """File and line of the user's innermost frame in a traceback."""
    own = _own_frames(error)
    return (own_file(own[-1].filename), own[-1].lineno) if own else (otherwise, None)


def _import_from(source: Path) -> None:
    """Make `import model` find the package in this folder."""
    loaded = sys.modules.get("model")
    folders = [Path(folder).resolve() for folder in getattr(loaded, "__path__", ())]
    if folders[:1] != [(source / "model").resolve()]:
        _forget_package()
    sys.path[:] = [str(source), *(entry for entry in sys.path if entry != str(source))]
    importlib.invalidate_caches()


def _forget_package() -> dict[str, ModuleType]:
    """Remove the package's modules from `sys.modules`; returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "model"]
    return {name: sys.modules.pop(name) for name in names}


def _module(name: str, file: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise HookError(_not_found(error, name, file)) from error
    except SyntaxError as error:
        place = own_file(error.filename or "") or file
        raise HookError(Fault(f"is not Python: {error.msg}", file=place, line=error.lineno)) from None
    except (Exception, SystemExit) as error:
        message = f"cannot be imported: {type(error).__name__}: {error}\n{own_traceback(error)}".rstrip()
        raise HookError(Fault(message, *_place(error, file))) from error


def _not_found(error: ModuleNotFoundError, name: str, file: str) -> Fault:
    if error.name in (name, "model"):
        return Fault("there is no such file", file=file, advice="restore it from version control")
    place = _place(error, file)
    if str(error.name).startswith("model."):
        advice = f"write src/{str(error.name).replace('.', '/')}.py, or correct the import"
        return Fault(f"imports {error.name!r}, which is not there", *place, advice=advice)
    advice = f"add the package that has {error.name!r} to the 'model' dependencies in pyproject.toml, then 'make setup'"
    return Fault(f"imports {error.name!r}, which is not installed", *place, advice=advice)


def _missing(name: str, module: ModuleType, file: str) -> Fault:
    known = [key for key in vars(module) if not key.startswith("_")]
    advice = did_you_mean(name, known, "the README shows its signature")
    return Fault(f"{name} is missing", file=file, advice=advice)
