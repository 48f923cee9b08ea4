"""The user's own Preprocessor class, which is compiled if its `transform` only calls a scikit-learn transformer."""

import ast
import inspect
import textwrap
from typing import Any

from ml_microservice.training.compilation.refusal import Refusal


def inner_transformer(preprocessor: Any) -> Any:
    """The scikit-learn transformer that a Preprocessor is, or whose `transform` its own one calls.

    Raises:
        Refusal: the class does anything else, or its source cannot be read.
    """
    kind = type(preprocessor)
    if kind.__module__.split(".")[0] == "sklearn":
        return preprocessor
    name = kind.__name__
    if "transform" in vars(preprocessor) or _intercepts(kind):
        raise Refusal(f"{name} changes how its attributes are found")
    attribute = _passed_to(_source(kind, name), name)
    inner = vars(preprocessor).get(attribute)
    if inner is None or type(inner).__module__.split(".")[0] != "sklearn":
        raise Refusal(f"{name}.transform calls self.{attribute}, which is not a transformer of scikit-learn")
    return inner


def _intercepts(kind: type) -> bool:
    hooks = ("__getattr__", "__getattribute__")
    return any(hook in vars(base) for base in kind.__mro__[:-1] for hook in hooks)


def _source(kind: type, name: str) -> ast.FunctionDef:
    method = inspect.getattr_static(kind, "transform", None)
    if not inspect.isfunction(method):
        raise Refusal(f"{name}.transform is not a plain method")
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, TypeError, SyntaxError) as error:
        raise Refusal(f"the source of {name}.transform cannot be read: {error}") from None
    function = parsed.body[0]
    if not isinstance(function, ast.FunctionDef) or function.decorator_list or hasattr(method, "__wrapped__"):
        raise Refusal(f"{name}.transform is decorated")
    return function


def _passed_to(function: ast.FunctionDef, name: str) -> str:
    """The attribute of a method that is only `return self.<attribute>.transform(X)`."""
    body = function.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    arguments = [argument.arg for argument in function.args.args]
    if len(body) == 1 and isinstance(body[0], ast.Return) and len(arguments) >= 2:
        match body[0].value:
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=ast.Name(id=owner), attr=attribute), attr="transform"),
                args=[ast.Name(id=argument)],
                keywords=[],
            ) if owner == arguments[0] and argument == arguments[1]:
                return attribute
    wanted = "return self.<fitted transformer>.transform(X)"
    raise Refusal(f"{name}.transform has code of its own; only '{wanted}' can be compiled")
