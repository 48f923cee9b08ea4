"""The report says in plain words what the numbers mean, in one file that runs nothing and gives nothing away."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ml_microservice.evaluation import Evaluation, Importance, evaluate_classification, evaluate_regression
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.training.feature_profile import FeatureProfile, profile_features
from ml_microservice.training.report import Report, ReportContext, judge, render_report

HOSTILE = "<script>alert('x')</script> | $x^2$ **b** &amp; \x01 \n# \N{CJK UNIFIED IDEOGRAPH-65E5}"
FEATURES = [
    {"name": "bill_length", "type": "float", "unit": "mm", "description": "Length of the bill", "optional": True},
    {"name": "eggs", "type": "int"},
    {"name": "island", "type": "category", "values": ["Biscoe", "Dream"]},
    {"name": "tagged", "type": "bool"},
    {"name": "notes", "type": "string"},
    {"name": "hatched", "type": "datetime"},
    {"name": "song", "type": "vector", "length": 2},
    {"name": "keeper", "type": "category", "values": ["Ada Lovelace", "Grace Hopper"], "pii": True},
    {"name": "keeper_age", "type": "int", "pii": True},
]
SPEC = FeatureSpec.model_validate({"task": "classification", "target": "species", "features": FEATURES})
FRAME = pd.DataFrame(
    {
        "bill_length": [39.5, None, 40.5, 50.25],
        "eggs": [1, 2, 2, 12],
        "island": ["Biscoe", "Dream", "Biscoe", "Biscoe"],
        "tagged": [True, False, False, False],
        "notes": ["likes fish", "", "secret", "secret"],
        "hatched": pd.to_datetime(["2020-01-02", "2021-03-04", "2022-05-06", "2023-07-08"], utc=True),
        "song": [[0.5, 1.5], [2, 3], [-4, 1], [0, 0]],
        "keeper": ["Ada Lovelace", "Grace Hopper"] * 2,
        "keeper_age": [71717, 72727, 73737, 74747],
    }
)


def judged(
    truth: Any, predicted: Any, classes: tuple[str, ...] = ("Adelie", "Gentoo"), train: Any = None
) -> Evaluation:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    return evaluate_classification(truth, predicted, None, classes, truth if train is None else np.asarray(train))


def a_context(
    classes: tuple[str, ...] = ("Adelie", "Gentoo"), rows: int = 60, *, sure: bool = True, **changes: Any
) -> ReportContext:
    truth = np.arange(rows) % len(classes)
    predicted = np.where(np.arange(rows) % 9 == 4, 0, truth)
    probabilities = np.full((rows, len(classes)), 0.2 / len(classes))
    probabilities[np.arange(rows), predicted] += 0.8
    evaluation = evaluate_classification(truth, predicted, probabilities if sure else None, classes, truth)
    values: dict[str, Any] = {
        "title": "Penguins",
        "description": "Names a penguin's species.",
        "version": "20261121-031745",
        "created_at": datetime(2026, 11, 21, 3, 17, 45, tzinfo=UTC),
        "git_commit": "8c1f0b2",
        "target": "species",
        "evaluation": evaluation,
        "truth": truth,
        "predicted": predicted,
        "probabilities": probabilities if sure else None,
        "importance": [Importance("bill_length", 0.3, 0.02), Importance("eggs", -0.01, 0.01)],
        "profile": profile_features(SPEC, FRAME),
        "split": "20% of the rows were held out.",
        "seed": 42,
        "golden_rows": 20,
        "duration_seconds": 75.2,
        "libraries": {"pandas": "3.1.1", "numpy": "2.4.6"},
    }
    return ReportContext(**(values | changes))


def a_regression_context(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> ReportContext:
    evaluation = evaluate_regression(truth, predicted, truth)
    return a_context(evaluation=evaluation, truth=truth, predicted=predicted, probabilities=None, target="mass")


@pytest.fixture(scope="module")
def report() -> Report:
    return render_report(a_context())


class Page(HTMLParser):
    """Tags, attributes and text of a page; an unclosed or stray tag fails."""

    VOID = frozenset({"meta"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def profile_of(name: str, frame: pd.DataFrame = FRAME) -> FeatureProfile:
    return next(row for row in profile_features(SPEC, frame) if row.name == name)


def test_the_verdict_is_in_plain_words() -> None:
    verdict = judge(judged([0] * 44 + [1] * 56, [0] * 44 + [1] * 54 + [0] * 2), "species")
    assert verdict.tone == "good"
    assert verdict.sentence == (
        "The model gets “species” right for 98 of 100 rows that it had not seen; "
        "always guessing the most frequent answer, “Gentoo”, gets 56 right."
    )
    assert verdict.warnings == ()


def test_the_verdict_on_many_rows_is_out_of_a_hundred_and_never_rounds_a_mistake_away() -> None:
    truth = [0, 1] * 1000
    assert "right for more than 99 of every 100 rows" in judge(judged(truth, [*truth[:-1], 0]), "species").sentence
    assert "right for 75 of every 100 rows" in judge(judged(truth, [*truth[:1000], *[0] * 1000]), "species").sentence


def test_the_verdict_on_a_regression_names_the_error_and_the_gain() -> None:
    truth = np.linspace(0, 100, 101)
    verdict = judge(evaluate_regression(truth, truth + 10, truth), "mass")
    assert verdict.sentence == (
        "The model's prediction of “mass” is off by 10.0 on average, on 101 rows that it had not seen; always guessing "
        "the average, 50.0, is off by 25.2. That is 60\N{NO-BREAK SPACE}% less error."
    )


def test_a_model_that_does_not_beat_its_baseline_is_called_so() -> None:
    verdict = judge(judged([0] * 30 + [1] * 20, [0] * 50), "species")
    assert (verdict.tone, verdict.badge) == ("bad", "No better than guessing")
    assert verdict.warnings[0].startswith("The model does not beat its baseline: accuracy 60\N{NO-BREAK SPACE}%")
    assert "The model never finds the class Gentoo." in verdict.warnings


@pytest.mark.parametrize(("rows", "warned"), [(28, True), (30, False)])
def test_few_held_out_rows_are_warned_of(rows: int, warned: bool) -> None:
    truth = [0, 1] * (rows // 2)
    verdict = judge(judged(truth, [1, *truth[1:]]), "species")
    assert any(f"Only {rows} rows were held out" in warning for warning in verdict.warnings) is warned
    assert verdict.tone == ("caution" if warned else "good")


def test_a_lead_that_may_be_chance_is_warned_of() -> None:
    verdict = judge(judged([0, 1] * 20, [0, 0] * 18 + [0, 1] * 2), "species")
    assert verdict.tone == "caution"
    assert "may be chance" in verdict.warnings[0]


def test_a_class_without_held_out_rows_is_warned_of() -> None:
    verdict = judge(judged([0, 1] * 20, [0, 1] * 20, ("Adelie", "Gentoo", "Chinstrap"), [0, 1, 2]), "species")
    assert "No held-out row is of the class Chinstrap: nothing is known about it." in verdict.warnings


def test_a_model_without_any_mistake_is_suspected() -> None:
    assert "gives the target away" in judge(judged([0, 1] * 20, [0, 1] * 20), "species").warnings[-1]


def test_the_profile_says_what_the_training_data_holds() -> None:
    assert profile_of("bill_length").missing == 1 / 4
    assert profile_of("bill_length").values == "39.5 to 50.25, median 40.5"
    assert profile_of("eggs").values == "1 to 12, median 2"
    assert profile_of("island").values.replace("\N{NO-BREAK SPACE}", " ") == "Biscoe 75 %, Dream 25 %"
    assert profile_of("island").shape == pytest.approx((1, 1 / 3))
    assert profile_of("tagged").values.replace("\N{NO-BREAK SPACE}", " ") == "False 75 %, True 25 %"
    assert profile_of("hatched").values == "2020-01-02 to 2023-07-08"
    assert profile_of("song").values == "2 numbers from -4 to 3"


def test_free_text_is_counted_not_shown() -> None:
    assert profile_of("notes").values == "3 different texts, up to 10 characters"


@pytest.mark.filterwarnings("error")
def test_a_feature_without_values_or_with_one_or_with_extreme_ones_has_a_profile() -> None:
    assert profile_of("bill_length", FRAME.assign(bill_length=np.nan)).values == "no values"
    assert profile_of("bill_length", FRAME.assign(bill_length=7.0)).values == "7 to 7, median 7"
    for values in ([-1e308, 1e308, 0, 1], [1e17, 1e17 + 16, 1e17, 1e17], [5e-324, 0, 0, 0]):
        assert max(profile_of("bill_length", FRAME.assign(bill_length=values)).shape) == 1


def test_personal_data_is_never_shown(report: Report) -> None:
    for form in (report.html, report.markdown):
        assert not re.search("Lovelace|Hopper|7[1-4]7[1-4]7", form)
    assert report.html.count("personal data, not shown") == 2
    assert (profile_of("keeper").values, profile_of("keeper").shape) == ("", ())


def test_personal_data_is_not_shown_even_if_a_profile_carries_it() -> None:
    profile = [replace(profile_of("keeper"), values="Ada Lovelace 50 %", shape=(1.0,))]
    assert "Lovelace" not in render_report(a_context(profile=profile)).html


@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize("classes", [("Adelie", "Gentoo"), ("Adelie", "Gentoo", "Chinstrap")])
def test_the_same_context_gives_the_same_bytes(classes: tuple[str, ...], sure: bool) -> None:
    assert render_report(a_context(classes, sure=sure)) == render_report(a_context(classes, sure=sure))


def test_the_same_regression_gives_the_same_bytes_even_where_points_are_sampled() -> None:
    truth = np.random.default_rng(0).normal(size=2000)
    context = a_regression_context(truth, truth / 2)
    report = render_report(context)
    assert report == render_report(context)
    assert "A random 1,500 of 2,000 rows are shown." in report.html


def test_the_page_is_one_file_that_loads_and_runs_nothing(report: Report) -> None:
    html, page = report.html, Page(report.html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value or "" for name, value in page.attributes if name.endswith(("href", "src"))]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html


def test_ids_are_unique_and_every_reference_has_its_target(report: Report) -> None:
    html = report.html
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]*)\)", html)) | set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)


def test_plots_take_their_colours_from_the_page(report: Report) -> None:
    html = report.html
    plots = re.findall(r'<div class="drawing".*?(<svg.*?</svg>)', html, re.DOTALL)
    assert len(plots) == 5
    for plot in plots:
        ElementTree.fromstring(plot)
        assert "var(--accent)" in plot
        assert not re.search(r"(fill|stroke): ?#", plot)
        assert "font-family" not in plot


def test_hostile_names_are_shown_as_text_everywhere() -> None:
    evil = HOSTILE.replace("\x01", "")
    profile = [FeatureProfile(evil, "float", evil, evil, 0.0, evil, (1.0,), False)]
    context = a_context(
        (evil, "b"),
        title=evil,
        description=evil,
        target=evil,
        version=evil,
        git_commit=evil,
        split=evil,
        profile=profile,
        importance=[Importance(evil, 0.1, 0)],
        libraries={evil: evil},
    )
    report = render_report(context)
    page = Page(report.html)
    assert "script" not in page.tags
    assert evil in page.text
    assert "<script" not in report.markdown
    tables = [line for line in report.markdown.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {5, 6}
    assert [line for line in report.markdown.splitlines() if line.startswith("#")] == [
        report.markdown.splitlines()[0],
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", [HOSTILE, "", " ", "$", "$$", "_x", "\\frac{1}", "a" * 300, "\N{GRINNING FACE}\u202e\x00"]
)
def test_any_name_can_be_drawn(name: str) -> None:
    Page(render_report(a_context((name, "b", "c"), importance=[Importance(name, 0.1, 0)])).html)


def test_many_classes_are_drawn_as_the_most_frequent_ones_and_the_rest() -> None:
    html = render_report(a_context(tuple(f"class {number}" for number in range(40)), rows=100)).html
    assert "The 15 most frequent of 40 classes are shown, the rest as one." in html
    assert "The 16 most frequent of 40 classes are shown." in html


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [("a",), ("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("sure", [True, False])
def test_one_held_out_row_makes_a_report(classes: tuple[str, ...], sure: bool) -> None:
    report = render_report(a_context(classes, rows=1, sure=sure, importance=[], profile=[]))
    assert "Only 1 row was held out" in report.html


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        ([5.0], [5.0]),
        ([5.0], [6.0]),
        ([5.0] * 9, [5.0] * 9),
        ([1e17, 0, 3], [0, 1e17, 3]),
        ([0.1, 0.2], [100.1, 100.2]),
    ],
)
def test_a_regression_that_is_hardly_one_makes_a_report(truth: list[float], predicted: list[float]) -> None:
    report = render_report(a_regression_context(np.array(truth), np.array(predicted)))
    Page(report.html)
    assert "nan" not in report.markdown.lower()


def test_both_forms_say_how_the_model_was_made(report: Report) -> None:
    for fact in ("20261121-031745", "2026-11-21 03:17:45 UTC", "8c1f0b2", "42", "20% of the rows"):
        assert fact in report.html
        assert fact in report.markdown
    for fact in ("1 min 15 s", "pandas 3.1.1", "20, stored with their predictions"):
        assert fact in report.html


def test_times_are_shown_in_utc() -> None:
    moment = datetime(2026, 11, 21, 1, 0, tzinfo=timezone(timedelta(hours=5)))
    assert "2026-11-20 20:00:00 UTC" in render_report(a_context(created_at=moment)).html
