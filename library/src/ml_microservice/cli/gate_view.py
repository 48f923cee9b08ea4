"""The comparison with the champion, and the verdict of the gate, on the terminal."""

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ml_microservice.errors import Fault
from ml_microservice.gate.documents import Champion, Comparison, Verdict
from ml_microservice.terminal import out, show_faults


def show_comparison(comparison: Comparison) -> None:
    """Print the metrics of the current model and the champion on the same rows."""
    model, champion = comparison.candidate.model, comparison.champion
    out.print(f"[bold]{model.version}[/] on {comparison.rows:,} held-out rows", highlight=False)
    table = Table("Metric", "Better is", "Model", "Champion")
    for name, value in comparison.candidate.metrics.items():
        values = ("undefined" if number is None else f"{number:.4g}" for number in (value, champion.metrics.get(name)))
        mine, theirs = values
        table.add_row(name, comparison.directions[name], mine, theirs if champion.status == "compared" else "")
    out.print(table)
    _show_champion(champion)


def show_verdict(verdict: Verdict) -> None:
    """Print the checks of the gate, and whether the model may go on."""
    table = Table("Check", "Found", "Asked for", "Passed", box=None)
    for check in verdict.checks:
        found, asked = ("" if number is None else f"{number:.4g}" for number in (check.value, check.limit))
        sign = {"greater": ">= ", "smaller": "<= ", None: ""}[check.direction]
        style = "green" if check.passed else "bold red"
        table.add_row(check.name, found or "undefined", sign + asked, "yes" if check.passed else "NO", style=style)
    if verdict.checks:
        out.print(table)
    else:
        out.print("Nothing was asked: config.yaml has no thresholds, and there is no comparison.", soft_wrap=True)
    _show_champion(verdict.champion)
    if verdict.passed:
        out.print(f"[bold green]Passed:[/] {verdict.candidate.version} may go on", highlight=False)
        return
    faults = [Fault(check.sentence) for check in verdict.checks if not check.passed]
    show_faults([Fault(f"{verdict.candidate.version} may not go on"), *faults])


def _show_champion(champion: Champion) -> None:
    name = f" {champion.model.version}" if champion.model else ""
    style = {"compared": "", "absent": "dim", "not comparable": "yellow"}[champion.status]
    out.print(Text(f"Champion{name}: {champion.status}. {champion.why}", style), soft_wrap=True)
    for note in champion.notes:
        out.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
