"""A made-up loan book: who defaults? Deterministic; with the skew, the rare categories and the gaps of real data."""

from typing import Any

import numpy as np
import pandas as pd

ROWS = 5_000
REGIONS = {"north": 0.30, "south": 0.25, "east": 0.20, "west": 0.15, "islands": 0.07, "abroad": 0.03}
EMPLOYMENT = {"employed": 0.55, "self-employed": 0.17, "retired": 0.14, "student": 0.08, "unemployed": 0.06}
HOUSING = {"rent": 0.42, "mortgage": 0.35, "own": 0.20, "other": 0.03}
CHANNELS = {"branch": 0.30, "web": 0.45, "partner": 0.25}


class DataLoader:
    """Draws the loan book."""

    def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
        """One frame with the features and the target `default`."""
        rng = np.random.default_rng(2026)
        frame = pd.DataFrame(
            {
                "age": rng.integers(18, 85, ROWS),
                "income": rng.lognormal(10.3, 0.5, ROWS).round(2),
                "loan_amount": rng.lognormal(9.2, 0.8, ROWS).round(2),
                "balance": rng.normal(2_500, 4_000, ROWS).round(2),
                "debt_ratio": rng.beta(2, 5, ROWS).round(4),
                "utilisation": rng.beta(1.5, 3, ROWS).round(4),
                "months_as_customer": rng.integers(0, 361, ROWS),
                "late_payments": rng.poisson(0.7, ROWS),
                "region": _draw(rng, REGIONS),
                "employment": _draw(rng, EMPLOYMENT),
                "housing": _draw(rng, HOUSING),
                "channel": _draw(rng, CHANNELS),
            }
        )
        odds = _log_odds(frame) + rng.logistic(0, 1, ROWS)
        frame["default"] = np.where(odds > 0, "yes", "no")
        frame.loc[rng.random(ROWS) < 0.06, "income"] = np.nan
        frame.loc[rng.random(ROWS) < 0.04, "utilisation"] = np.nan
        return frame if n_rows is None else frame.head(n_rows)


def _draw(rng: np.random.Generator, shares: dict[str, float]) -> list[str]:
    return [str(value) for value in rng.choice(list(shares), size=ROWS, p=list(shares.values()))]


def _log_odds(frame: pd.DataFrame) -> Any:
    strain = np.log(frame["loan_amount"] / frame["income"])
    jobs = frame["employment"].map({"unemployed": 1.4, "student": 0.6, "self-employed": 0.4, "retired": -0.2})
    homes = frame["housing"].map({"own": -0.7, "mortgage": -0.2, "other": 0.4})
    return (
        0.9 * strain
        + 2.2 * frame["debt_ratio"]
        + 1.8 * (frame["utilisation"] - 0.4) ** 2 * 5
        + 0.6 * frame["late_payments"]
        - 0.00008 * frame["balance"]
        - 0.004 * frame["months_as_customer"]
        + jobs.fillna(0.0)
        + homes.fillna(0.0)
        + 0.5 * ((frame["age"] < 25) & (frame["channel"] == "web"))
        - 1.1
    )
