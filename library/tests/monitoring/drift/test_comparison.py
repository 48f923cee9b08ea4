"""What raises an alarm, and what does not."""

from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Any

import numpy as np
import pytest

from ml_microservice.artefact.reference import Reference
from ml_microservice.monitoring.drift.comparison import compare
from ml_microservice.monitoring.drift.result import DriftReport
from ml_microservice.settings import MonitoringSettings
from tests.monitoring.conftest import (
    START,
    WINDOW,
    Columns,
    FakeRecords,
    answers,
    customers,
    records,
    training_reference,
)

WINDOWS = 200
SETTINGS = MonitoringSettings()
Compared = Callable[..., DriftReport]


def some(columns: Columns, rows: int, rng: np.random.Generator) -> Columns:
    """Rows at random."""
    chosen = rng.integers(0, len(columns["price"]), rows).tolist()
    return {name: [values[row] for row in chosen] for name, values in columns.items()}


def statuses(report: DriftReport) -> dict[str, str]:
    return {drift.name: drift.status for drift in report.drifts if drift.status != "stable"}


@pytest.mark.parametrize(
    ("trained", "rows", "windows"),
    [
        (400, 100, WINDOWS // 5),
        *(pytest.param(*case, WINDOWS, marks=pytest.mark.slow) for case in ((400, 100), (400, 1000), (3000, 500))),
    ],
)
def test_no_alarm_where_nothing_has_changed(trained: int, rows: int, windows: int) -> None:
    rng = np.random.default_rng(7)
    everybody, alarms = customers(20_000, rng), 0
    for _ in range(windows // 4):
        reference = training_reference(some(everybody, trained, rng), answers(trained // 5, rng))
        for _ in range(4):
            window = records(some(everybody, rows, rng), answers(rows, rng))
            alarms += bool(compare(reference, window, WINDOW, SETTINGS).alarms)
    assert alarms <= SETTINGS.false_alarm_rate * windows


@pytest.mark.slow
def test_limits_without_a_setting_on_top_hold_their_rate(reference: Reference) -> None:
    # Next to nothing matters here, so that only the noise stands between chance and an alarm.
    settings = MonitoringSettings(
        psi=1e-9, missing=1e-9, unseen=1e-9, words=1e-9, shift=1e-9, parts=1, persistent_parts=1, false_alarm_rate=0.1
    )
    rng = np.random.default_rng(8)
    everybody = customers(20_000, rng)
    windows = [records(some(everybody, 500, rng), answers(500, rng)) for _ in range(WINDOWS)]
    alarms = sum(bool(compare(reference, window, WINDOW, settings).alarms) for window in windows)
    assert alarms <= 0.1 * WINDOWS + 3 * (WINDOWS * 0.1 * 0.9) ** 0.5


def test_a_shifted_number(compared: Compared) -> None:
    report = compared({"price": lambda prices: [price + 6 for price in prices]})
    assert statuses(report) == {"price": "drift"}
    assert report.status == "drift"
    (price,) = report.alarms
    assert price.sentence.startswith("The values are higher: their median is 45.")
    assert price is report.drifts[0]


def test_a_number_that_spreads(compared: Compared) -> None:
    report = compared({"price": lambda prices: [40 + 2.5 * (price - 40) for price in prices]})
    assert statuses(report) == {"price": "drift"}


def test_numbers_out_of_range(compared: Compared) -> None:
    report = compared(
        {"price": lambda prices: [price * (1000 if row % 25 == 0 else 1) for row, price in enumerate(prices)]}
    )
    assert statuses(report) == {"price": "drift"}
    assert "outside of what training had" in report.alarms[0].sentence


def test_a_new_category(compared: Compared) -> None:
    report = compared({"colour": lambda colours: ["black" if row % 20 == 0 else c for row, c in enumerate(colours)]})
    assert statuses(report) == {"colour": "drift"}
    assert report.alarms[0].sentence == (
        "5 % of the values are ones that training did not have, most often “black”.".replace(
            " %", "\N{NO-BREAK SPACE}%"
        )
    )


def test_categories_of_other_shares(compared: Compared) -> None:
    report = compared({"member": lambda members: [member or row % 2 == 0 for row, member in enumerate(members)]})
    assert statuses(report) == {"member": "drift"}
    assert "“false” is 33.7" in report.alarms[0].sentence


@pytest.mark.parametrize("feature", ["income", "remark"])
def test_a_rise_of_missing_values(compared: Compared, feature: str) -> None:
    report = compared({feature: lambda values: [None if row % 4 == 0 else value for row, value in enumerate(values)]})
    assert statuses(report) == {feature: "drift"}
    assert "are missing; it was" in report.alarms[0].sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: f"{text} {text} {text} {text}", "The texts are longer"),
        (lambda text: " ".join(f"new{word}" for word in text.split()), "are not among the"),
        (lambda text: f"{text} wordac" if len(text) % 3 else text, "“wordac” is in"),
        (lambda text: "" if len(text) % 3 == 0 else text, "of the texts are empty"),
    ],
    ids=["longer", "another language", "a known word", "empty"],
)
def test_a_changed_text(compared: Compared, change: Callable[[str], str], words: str) -> None:
    report = compared({"remark": lambda texts: [text if text is None else change(text) for text in texts]})
    assert statuses(report) == {"remark": "drift"}
    assert words in report.alarms[0].sentence


def test_moments_that_move(compared: Compared) -> None:
    report = compared({"joined": lambda moments: [moment.replace("2025", "2026") for moment in moments]})
    assert statuses(report) == {"joined": "drift"}


def test_a_vector_of_which_one_element_moves(compared: Compared) -> None:
    report = compared({"taste": lambda vectors: [[*vector[:3], vector[3] + 1.2, *vector[4:]] for vector in vectors]})
    assert statuses(report) == {"taste": "drift"}
    assert "Element 3, counted from 0" in report.alarms[0].sentence


def test_drifted_predictions(compared: Compared) -> None:
    report = compared(yes=0.85)
    assert statuses(report) == {"prediction": "drift"}
    assert report.alarms[0].role == "prediction"


def test_a_model_that_is_less_sure(reference: Reference) -> None:
    rng = np.random.default_rng(9)
    answered = answers(900, rng)
    assert answered.probabilities is not None
    unsure = type(answered)(answered.values, 0.5 + (answered.probabilities - 0.5) * 0.4)
    report = compare(reference, records(customers(900, rng), unsure), WINDOW, SETTINGS)
    assert statuses(report) == {"confidence": "drift"}


def test_a_burst_in_one_part_of_the_window_is_no_alarm(compared: Compared) -> None:
    def burst(prices: list[Any]) -> list[Any]:
        return [price + 40 if 300 <= row < 500 else price for row, price in enumerate(prices)]

    report = compared({"price": burst})
    assert statuses(report) == {"price": "passing"}
    assert report.status == "passing"
    assert report.alarms == ()
    assert report.drifts[0].sentence.endswith("But only in 1 of 3 parts of the window.")


def test_a_window_whose_records_all_came_at_once_is_judged_as_one_part(compared: Compared) -> None:
    at_once = [START + timedelta(seconds=1)] * 900
    report = compared({"price": lambda prices: [price + 6 for price in prices]}, times=at_once)
    assert statuses(report) == {"price": "drift"}


@pytest.mark.parametrize("rows", [1, 29, 99])
def test_few_rows_are_too_few_and_never_an_alarm(compared: Compared, rows: int) -> None:
    report = compared({"price": lambda prices: [price + 1000 for price in prices]}, rows=rows)
    assert report.status == "too_few_rows"
    assert report.alarms == ()
    assert {drift.sentence for drift in report.drifts} == {"Too few rows to tell."}


def test_no_rows_are_too_few(reference: Reference) -> None:
    report = compare(reference, FakeRecords({}, [], []), WINDOW, SETTINGS)
    assert (report.status, report.rows, report.drifts) == ("too_few_rows", 0, ())


def test_a_feature_that_is_ignored_raises_no_alarm(compared: Compared) -> None:
    report = compared({"price": lambda prices: [price + 6 for price in prices]}, ignore=("price",))
    assert report.status == "stable"
    assert report.alarms == ()
    assert report.drifts[-1].name == "price"
    assert report.drifts[-1].status == "drift"


def test_a_feature_that_is_not_recorded_is_named(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    columns = customers(200, rng)
    del columns["price"]
    report = compare(reference, records(columns, answers(200, rng)), WINDOW, SETTINGS)
    assert report.not_compared["price"] == "not among the recorded inputs"
    assert "personal data" in report.not_compared["customer"]


def test_a_report_is_the_same_after_json(compared: Compared) -> None:
    report = compared({"price": lambda prices: [price + 6 for price in prices]})
    assert DriftReport.from_bytes(report.to_bytes()) == report


def test_numbers_are_predicted_too() -> None:
    rng = np.random.default_rng(11)
    columns, values = customers(1000, rng), rng.normal(100, 10, 1000).tolist()
    predicted = answers(0, rng)
    trained = type(predicted)(values[:300], None)
    reference = training_reference(columns, trained)
    same = compare(reference, records(columns, type(predicted)(values, None)), WINDOW, SETTINGS)
    other = compare(
        reference, records(columns, type(predicted)([value + 9 for value in values], None)), WINDOW, SETTINGS
    )
    assert same.status == "stable"
    assert statuses(other) == {"prediction": "drift"}


def test_a_value_without_bounds_leaves_the_others_to_be_told_of(compared: Callable[..., DriftReport]) -> None:
    report = compared(
        {
            "price": lambda values: [1.7e308, -1.7e308, *values[2:]],
            "taste": lambda values: [[1.7e308, *values[0][1:]], *values[1:]],
        }
    )
    assert report.alarms == ()
    assert all(isfinite(measure.value) for drift in report.drifts for measure in drift.measures)
    assert DriftReport.from_bytes(report.to_bytes()) == report
