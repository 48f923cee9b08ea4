"""Write the benchmark's rows many times over, each a little other, as files.

Usage: python make_files.py ROWS FILE.csv FILE.parquet
"""

import sys

import numpy as np
import pandas as pd
from model.data_loader import DataLoader


def main(rows: int, csv: str, parquet: str) -> None:
    """Draw the rows with replacement and move the amounts a little."""
    rng = np.random.default_rng(7)
    frame = DataLoader().load_data().drop(columns="default")
    drawn = frame.iloc[rng.integers(0, len(frame), rows)].reset_index(drop=True)
    for name in ("income", "loan_amount", "balance"):
        drawn[name] = (drawn[name] * rng.uniform(0.9, 1.1, rows)).round(2)
    pd.DataFrame(drawn).to_csv(csv, index=False)
    drawn.to_parquet(parquet, index=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
