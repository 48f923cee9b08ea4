"""The page shows the farthest off first, in one file that runs nothing."""

import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from ml_microservice.monitoring.drift.report import render_drift_report
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.settings import Settings

HOSTILE = "<script>alert('x')</script> $x^2$ &amp;"
Compared = Callable[..., DriftReport]


@pytest.fixture
def report(compared: Compared) -> DriftReport:
    """A price and a text that have drifted."""
    return compared(
        {
            "price": lambda prices: [price + 6 for price in prices],
            "remark": lambda texts: [text and f"{text} {text} {text}" for text in texts],
        }
    )


def test_the_farthest_off_comes_first(report: DriftReport, settings: Settings) -> None:
    page = render_drift_report(report, settings)
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    assert set(titles[:2]) == {"price", "remark"}
    assert len(titles) == len(report.drifts) == 10
    assert "2 of 8 features" in page
    assert "customer" in page


def test_it_loads_and_runs_nothing(report: DriftReport, settings: Settings) -> None:
    page = render_drift_report(report, settings)
    assert not re.search(r"<(script|link|img|iframe)|(src|href)=\"http", page)
    assert "default-src 'none'" in page


def test_its_pictures_are_well_formed_and_every_text_is_escaped(report: DriftReport, settings: Settings) -> None:
    first = replace(report.drifts[0], name=HOSTILE, sentence=HOSTILE)
    page = render_drift_report(replace(report, drifts=(first, *report.drifts[1:])), settings)
    assert "<script" not in page
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)


def test_the_same_report_gives_the_same_page(report: DriftReport, settings: Settings) -> None:
    again = DriftReport.from_bytes(report.to_bytes())
    assert render_drift_report(again, settings) == render_drift_report(report, settings)


@pytest.mark.parametrize("rows", [1, 60])
def test_few_rows_make_a_page_too(compared: Compared, settings: Settings, rows: int) -> None:
    page = render_drift_report(compared(rows=rows), settings)
    assert f"{rows} prediction{'s are' if rows > 1 else ' is'} too few" in page.replace(" in the window", "")
