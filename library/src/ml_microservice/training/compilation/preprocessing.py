"""Compiler of a fitted Preprocessor, which becomes a program."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.engine.program import Program
from ml_microservice.inference.engine.steps import Take
from ml_microservice.training.compilation.encoders import ENCODERS
from ml_microservice.training.compilation.own_class import inner_transformer
from ml_microservice.training.compilation.refusal import Refusal
from ml_microservice.training.compilation.scalers import SCALERS
from ml_microservice.training.compilation.values import (
    Computed,
    Raw,
    Value,
    forked,
    frame_columns,
    lowered,
    side_by_side,
)
from ml_microservice.training.compilation.values import unsupported as why_unsupported

Handler = Callable[[Any, Value, str], Value]


def compile_preprocessing(preprocessor: Any, layout: FrameLayout, spec: FeatureSpec) -> Program:
    """Compile a fitted Preprocessor.

    Raises:
        Refusal: a step has no compiled form; the message names it.
    """
    transformer = inner_transformer(preprocessor)
    raw = frame_columns(layout, layout.names)
    result = lowered(compiled(transformer, raw, type(transformer).__name__), "the model")
    used = _names(result.whole())
    kinds = {feature.name: feature.type for feature in spec.features}
    reasons = [reason for name in used if (reason := why_unsupported(layout, kinds, name))]
    if reasons:
        raise Refusal(f"the column {reasons[0]}")
    return Program(result.whole(), layout.names[0])


def compiled(transformer: Any, value: Value, name: str) -> Value:
    """Compile a transformer that is applied to a value.

    Raises:
        Refusal: the transformer has no compiled form.
    """
    if transformer is None or isinstance(transformer, str):
        if transformer in (None, "passthrough"):
            return value
        raise Refusal(f"{name}: {transformer!r} is not a transformer")
    # Only scikit-learn's own classes, because a subclass may do anything.
    handler = HANDLERS.get(type(transformer))
    if handler is None:
        raise Refusal(f"{name} ({type(transformer).__module__}.{type(transformer).__name__}) has no compiled form")
    config = getattr(transformer, "_sklearn_output_config", {})
    if config.get("transform", "default") != "default":
        raise Refusal(f"{name} returns a {config['transform']} frame: leave set_output at its default")
    return handler(transformer, value, name)


def _pipeline(pipeline: Pipeline, value: Value, name: str) -> Value:
    for step, transformer in pipeline.steps:
        value = compiled(transformer, value, f"{name}.{step}")
    return value


def _column_transformer(columns: ColumnTransformer, value: Value, name: str) -> Value:
    if columns.transformer_weights:
        raise Refusal(f"{name} has transformer_weights")
    selected = {step: spec for step, _, spec in columns.transformers}
    known = list(getattr(columns, "feature_names_in_", []))
    parts: list[tuple[list[int], Any, str]] = []
    for step, transformer, _ in columns.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        if isinstance(selected.get(step), str):
            raise Refusal(f"{name}.{step} gets one column as a series, as text vectorisers do")
        positions = np.asarray(columns._transformer_to_input_indices[step], dtype=np.intp).tolist()
        if positions:
            parts.append((positions, transformer, f"{name}.{step}"))
    if not parts:
        raise Refusal(f"{name} selects no columns")
    sparse = bool(columns.sparse_output_)
    if isinstance(value, Raw):
        at = {column.name: place for place, column in enumerate(value.columns)}
        made = [
            lowered(compiled(t, value.take([at[known[p]] if known else p for p in positions]), step), step)
            for positions, t, step in parts
        ]
        return side_by_side(made, sparse=sparse)
    start = value
    chains = [_on_columns(start, positions, t, step) for positions, t, step in parts]
    return forked(start, chains, sparse=sparse)


def _on_columns(value: Computed, positions: list[int], transformer: Any, name: str) -> Computed:
    taken = value.then(Take(np.array(positions, dtype=np.intp)), width=len(positions))
    return lowered(compiled(transformer, taken, name), name)


def _feature_union(union: FeatureUnion, value: Value, name: str) -> Value:
    if union.transformer_weights:
        raise Refusal(f"{name} has transformer_weights")
    steps = [(step, t) for step, t in union.transformer_list if t != "drop"]
    made = [lowered(compiled(t, value, f"{name}.{step}"), f"{name}.{step}") for step, t in steps]
    sparse = any(part.sparse for part in made)
    return side_by_side(made, sparse=sparse) if isinstance(value, Raw) else forked(value, made, sparse=sparse)


def _names(source: Any) -> list[str]:
    """Names of the columns that a source reads."""
    if hasattr(source, "names"):
        return list(source.names)
    parts = getattr(source, "sources", None) or [source.source]
    return [name for part in parts for name in _names(part)]


HANDLERS: dict[type, Handler] = {
    Pipeline: _pipeline,
    ColumnTransformer: _column_transformer,
    FeatureUnion: _feature_union,
    **SCALERS,
    **ENCODERS,
}
