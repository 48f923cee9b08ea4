"""Drift and live performance on the terminal."""

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.monitoring.drift.verdict import farthest_words, title, verdict
from ml_microservice.monitoring.performance_result import Performance
from ml_microservice.terminal import out


def show_drift(report: DriftReport, min_rows: int) -> None:
    """Print what has drifted since training, the largest drift first."""
    style = {"drift": "bold red", "passing": "yellow", "stable": "green", "too_few_rows": "yellow"}
    window = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    out.print(
        f"{report.rows:,} of {report.recorded:,} predictions, {window}, model {report.model_version}", highlight=False
    )
    table = Table("", "Status", "Farthest off", "Found")
    for drift in report.drifts if report.status != "too_few_rows" else ():
        status = Text("ignored" if drift.ignored else drift.status, style[drift.status])
        table.add_row(escape(title(drift)), status, farthest_words(drift), escape(drift.sentence))
    for name, why in report.not_compared.items():
        table.add_row(escape(name), "not compared", "", why, style="dim")
    if table.rows:
        out.print(table)
    out.print(Text(verdict(report, min_rows), style[report.status]))


def show_performance(performance: Performance) -> None:
    """Print how accurate each model version is in service."""
    out.print(f"Predictions from {performance.since} to {performance.until}", highlight=False)
    if not performance.models:
        out.print("There are none.")
    for model in performance.models:
        counts = f"{model.predictions:,} predictions, {model.with_feedback:,} with feedback ({model.coverage:.1%})"
        out.print(f"\n[bold]{escape(model.model_version)}[/]: {counts}", highlight=False)
        table = Table("Metric", "In service", "In training")
        for name, value in model.metrics.items():
            trained = (model.training_metrics or {}).get(name)
            table.add_row(name, *("undefined" if number is None else f"{number:.4g}" for number in (value, trained)))
        if model.metrics:
            out.print(table)
        if model.calibration:
            table = Table("Probability given", "Predictions", "Mean", "Right")
            for row in model.calibration:
                shares = (f"{row.confidence:.3f}", f"{row.right:.3f}")
                table.add_row(f"{row.low:.1f} to {row.high:.1f}", f"{row.rows:,}", *shares)
            out.print(table)
        if model.feedback_delay_seconds is not None:
            delay = model.feedback_delay_seconds
            words = f"half of it within {delay.median:,.0f} s, nine tenths within {delay.p90:,.0f} s"
            out.print(f"Feedback came: {words}", highlight=False)
        for note in model.notes:
            out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
