"""The commands that decide whether a model may go on: `evaluate` and `gate`."""

from pathlib import Path
from typing import Annotated

import typer

from ml_microservice.cli.app import app
from ml_microservice.settings import load_settings


@app.command()
def evaluate(
    champion: Annotated[
        Path | None,
        typer.Option(help="Archive of the model in production; by default build/champion/model.tar, if it exists."),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Load at most this many rows, as in training.", min=1)] = None,
) -> None:
    """Evaluate the current model, and the champion, on the same held-out rows; writes `build/evaluation.json`."""
    from ml_microservice.cli.gate_view import show_comparison
    from ml_microservice.gate.comparison import STAGES
    from ml_microservice.gate.comparison import evaluate as run
    from ml_microservice.gate.documents import EVALUATION
    from ml_microservice.terminal import out, stages

    settings = load_settings()
    with stages(STAGES) as on_stage:
        comparison = run(settings, champion=champion, n_rows=rows, on_stage=on_stage)
    show_comparison(comparison)
    out.print(f"[bold green]Wrote[/] {EVALUATION}\nNext:   make gate", soft_wrap=True)


@app.command()
def gate() -> None:
    """Judge the evaluation by `gate` in `config.yaml`; writes `build/verdict.json`, and exits with 1 if it fails."""
    from ml_microservice.cli.gate_view import show_verdict
    from ml_microservice.gate.verdict import gate as run

    verdict = run(load_settings())
    show_verdict(verdict)
    if not verdict.passed:
        raise typer.Exit(1)
