"""A small vocabulary of panels: what all have in common, and how each kind looks."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as dashboard_model
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
CALM, WARN, BAD, PLAIN = "semi-dark-green", "orange", "red", "semi-dark-blue"
TAG = "detector"

Panel = Builder[dashboard_model.Panel]
Queries = dict[str, str]  # legend -> query
Steps = Sequence[tuple[float | None, str]]
Made = TypeVar("Made", stat.Panel, timeseries.Panel, heatmap.Panel, table.Panel)


def number(
    title: str,
    says: str,
    query: str,
    *,
    unit: str = "short",
    steps: Steps = ((None, PLAIN),),
    decimals: int | None = None,
) -> stat.Panel:
    """Return one large number, coloured by the step it is on, with its course behind it."""
    panel = (
        stat.Panel()
        .height(4)
        .span(4)
        .graph_mode(look.BigValueGraphMode.AREA)
        .color_mode(look.BigValueColorMode.BACKGROUND)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return _asked(panel, title, says, {title: query}).unit(unit)


def lines(
    title: str,
    says: str,
    queries: Queries,
    *,
    unit: str = "short",
    width: int = 12,
    least: float | None = 0,
) -> timeseries.Panel:
    """Return lines over time."""
    panel = (
        timeseries.Panel()
        .height(8)
        .span(width)
        .line_width(1.5)
        .fill_opacity(8)
        .show_points(look.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(look.LegendDisplayMode.LIST)
            .placement(look.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(look.TooltipDisplayMode.MULTI)
            .sort(look.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    )
    if least is not None:
        panel.min(least)
    return _asked(panel, title, says, queries).unit(unit)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Put lines on top of each other, as areas in steps."""
    mode = common.StackingConfig().mode(look.StackingMode.NORMAL).group("A")
    stepped = panel.line_interpolation(look.LineInterpolation.STEP_AFTER)
    return stepped.stacking(mode).fill_opacity(55).line_width(0)


def bars(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw bars on top of each other in place of lines."""
    drawn = stacked(panel).draw_style(look.GraphDrawStyle.BARS).fill_opacity(80)
    return drawn.interval("1m").axis_soft_max(4).decimals(0)


def coloured(panel: timeseries.Panel, colours: dict[str, str]) -> timeseries.Panel:
    """Give lines, by their legend, colours that mean something."""
    for name, colour in colours.items():
        panel.override_by_name(
            name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    return panel


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Give the axis a decade a step."""
    tenfold = common.ScaleDistributionConfig().type(look.ScaleDistribution.LOG).log(10)
    return panel.scale_distribution(tenfold).fill_opacity(0).decimals(2)


def heat(
    title: str, says: str, query: str, *, axis: str, most: float, width: int = 12
) -> heatmap.Panel:
    """Return how a distribution moves over time.

    Args:
        title: Of the panel.
        says: What it tells, for those who ask.
        query: Returns buckets by `le`.
        axis: What stands before each number on the axis.
        most: From here on a cell is as dark as can be.
        width: Of 24.
    """
    colours = (
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .steps(64)
        .min(0)
        .max(most)
    )
    panel = (
        heatmap.Panel()
        .height(8)
        .span(width)
        .color(colours)
        .cell_gap(0)
        .y_axis(heatmap.YAxisConfig().unit(f"prefix:{axis}").decimals(0))
        .hide_legend()
    )
    asked = _query(query, "{{le}}").ref_id("A").format(PromQueryFormat.HEATMAP)
    return _titled(panel, title, says).with_target(asked)


def listing(
    title: str,
    says: str,
    queries: Queries,
    columns: dict[str, str],
    *,
    width: int = 12,
    height: int = 8,
) -> table.Panel:
    """Return a table: a row for each series, of its labels.

    Args:
        title: Of the panel.
        says: What it tells, for those who ask.
        queries: Each of them adds labels to the rows of its `instance`.
        columns: Label -> heading; others are left out.
        width: Of 24.
        height: In rows of the grid.
    """
    panel = _titled(table.Panel().height(height).span(width), title, says)
    for ref, query in queries.items():
        asked = prometheus.Dataquery().expr(query).instant().ref_id(ref)
        panel.with_target(asked.format(PromQueryFormat.TABLE).datasource(SOURCE))
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    kept = {"include": {"names": list(columns)}}
    panel.with_transformation(DataTransformerConfig("filterFieldsByName", options=kept))
    order = {name: index for index, name in enumerate(columns)}
    panel.with_transformation(
        DataTransformerConfig("organize", options={"indexByName": order, "renameByName": columns})
    )
    return panel


def words(title: str, markdown: str, *, width: int = 12, height: int = 8) -> text.Panel:
    """Return a panel of text."""
    return (
        text.Panel()
        .title(title)
        .height(height)
        .span(width)
        .mode(TextMode.MARKDOWN)
        .content(markdown)
    )


def board(title: str, uid: str, says: str, since: str) -> dashboard.Dashboard:
    """Return a dashboard without panels, with its variables and a way to the others."""
    others = dashboard.DashboardLink("Detector").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .readonly()
        .refresh("15s")
        .time(since, "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others.keep_time(True).include_vars(True))
        .with_variable(
            dashboard.DatasourceVariable("source")
            .id("source")
            .type("prometheus")
            .current(VariableOption(selected=True, text="default", value="default"))
            .hide(VariableHide.HIDE_VARIABLE)
        )
        .with_variable(choice("job", "Group", "label_values(detector_build_info, job)"))
    )  # fmt: skip


def choice(name: str, label: str, query: str, *, several: bool = False) -> dashboard.QueryVariable:
    """Return a variable that is chosen from a label's values; of `several`, all at first."""
    made = (
        dashboard.QueryVariable(name)
        .id(name)  # one for all of them otherwise, and Grafana mixes them up
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(True).include_all(True).all_value(".*") if several else made


def _asked(panel: Made, title: str, says: str, queries: Queries) -> Made:
    for ref, (legend, query) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(_query(query, legend).ref_id(ref))
    return _titled(panel, title, says)


def _titled(panel: Made, title: str, says: str) -> Made:
    return panel.title(title).description(says).datasource(SOURCE)


def _query(query: str, legend: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query).legend_format(legend).range().datasource(SOURCE)
    return made.exemplar(True) if "detector_alerts_total" in query else made


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [Threshold(value, colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)
