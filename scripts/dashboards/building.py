"""What all dashboards share: a board is rows of panels, a panel is queries and how they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = Literal["lines", "stacked", "number", "names", "states", "heatmap"]
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
COLORS = {"bad": "red", "good": "green", "middle": "orange"}


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        queries: PromQL by the legend of its series, in which `{{label}}` stands for a label.
        text: what a reader should know.
        kind: how it is drawn.
        unit: of the values, as Grafana names it.
        limits: a value from which something is bad, and one from which it is not good; for numbers and lines.
        most: end of the axis, such as 1 for a share.
        width: of 24.
        repeat: a variable, of each value of which there is a panel.
    """

    title: str
    queries: Mapping[str, str]
    text: str
    kind: Kind = "lines"
    unit: str = "short"
    limits: tuple[float, float] | None = None
    most: float | None = None
    width: int = 8
    repeat: str | None = None


@dataclass(frozen=True)
class Board:
    """One dashboard: rows of panels under their headings.

    Attributes:
        name: of the file, and part of the address.
        title: what it is about.
        text: in a sentence.
        rows: panels by heading.
        chosen_by: the metric whose values of `job` are offered.
        variables: further choices by name, and the query for them.
    """

    name: str
    title: str
    text: str
    rows: Mapping[str, Sequence[Panel]]
    chosen_by: str
    variables: Mapping[str, str]

    def build(self) -> models.Dashboard:
        """What Grafana reads."""
        board = (
            dashboard.Dashboard(self.title)
            .uid(f"ml-service-{self.name}")
            .description(self.text)
            .tags(["ml-service"])
            .timezone("browser")
            .time("now-3h", "now")
            .refresh("30s")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard.DashboardLink("Other dashboards")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags(["ml-service"])
                .as_dropdown(True)
                .include_vars(True)
                .keep_time(True)
            )
            .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
            .with_variable(_variable("job", f"label_values({self.chosen_by}, job)", "Service", several=False))
        )
        for name, query in self.variables.items():
            board = board.with_variable(_variable(name, query, name.title()))
        number = 0
        for heading, panels in self.rows.items():
            board = board.with_row(dashboard.Row(heading))
            for panel in panels:
                number += 1
                board = board.with_panel(_panel(panel).id(number))
        return board.build()


def _variable(name: str, query: str, label: str, *, several: bool = True) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        variable = variable.multi(True).include_all(True).current(everything)
    return variable


_AnyPanel = timeseries.Panel | stat.Panel | statetimeline.Panel | heatmap.Panel


def _panel(panel: Panel) -> _AnyPanel:
    built = _drawn(panel)
    built = built.title(panel.title).description(panel.text).datasource(SOURCE).height(_height(panel)).span(panel.width)
    for legend, expression in panel.queries.items():
        query = prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)
        query = query.ref_id(chr(ord("A") + list(panel.queries).index(legend)))
        query = query.instant() if panel.kind in ("number", "names") else query.range()
        if panel.kind == "heatmap":
            query = query.format(PromQueryFormat.HEATMAP)
        built = built.with_target(query)
    if panel.limits is not None:
        built = built.thresholds(_thresholds(panel.limits))
    if panel.most is not None:
        built = built.max(panel.most)
    if panel.repeat is not None:
        built = built.repeat(panel.repeat).repeat_direction("h")
    return built


def _height(panel: Panel) -> int:
    return 4 if panel.kind in ("number", "names") else 8


def _drawn(panel: Panel) -> _AnyPanel:
    match panel.kind:
        case "heatmap":
            shown = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
            return heatmap.Panel().calculate(False).color(shown).unit(panel.unit)
        case "states":
            return statetimeline.Panel().unit(panel.unit).show_value(common_models.VisibilityMode.NEVER).row_height(0.8)
        case "number" | "names":
            names = common_models.BigValueTextMode
            reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
            mode = names.NAME if panel.kind == "names" else names.VALUE
            graph = common_models.BigValueGraphMode.NONE
            return stat.Panel().unit(panel.unit).reduce_options(reduce).text_mode(mode).graph_mode(graph)
        case _:
            lines = timeseries.Panel().unit(panel.unit).min(0).fill_opacity(10).legend(_legend())
            if panel.kind == "stacked":
                stacking = common.StackingConfig().mode(common_models.StackingMode.NORMAL)
                lines = lines.stacking(stacking).fill_opacity(40)
            if panel.limits is not None:
                style = common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.LINE)
                lines = lines.thresholds_style(style)
            return lines


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _thresholds(limits: tuple[float, float]) -> dashboard.ThresholdsConfig:
    """Colours from a limit on; where the bad one is the lower, small values are bad."""
    bad, middle = limits
    if bad > middle:
        steps = [(None, "good"), (middle, "middle"), (bad, "bad")]
    else:
        steps = [(None, "bad"), (bad, "middle"), (middle, "good")]
    thresholds = [models.Threshold(value=value, color=COLORS[name]) for value, name in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)
