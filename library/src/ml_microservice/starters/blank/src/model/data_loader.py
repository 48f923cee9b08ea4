"""Where the training data comes from: yours to fill in.

What stands between `# Example` and `# End Example` belongs to the example; `make eject-example` empties it.
"""

# Example
import numpy as np

# End Example
import pandas as pd

# Example
ROWS = 120
# End Example


class DataLoader:
    """Loads the training data, from wherever it is: a file, a database, a bucket."""

    def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
        """One frame with everything that training uses: the features, the target and, if there is one, the entity id.

        Args:
            n_rows: load at most so many rows, for a quick check; all of them by default.
        """
        # Example
        # PLACEHOLDER: a made-up frame, so that everything runs. Load your own data instead.
        random = np.random.default_rng(0)
        frame = pd.DataFrame(
            {
                "amount": random.uniform(0, 100, ROWS).round(2),
                "visits": random.integers(0, 20, ROWS),
                "channel": random.choice(["shop", "web"], ROWS),
            }
        )
        frame["label"] = np.where(frame["amount"] + 3 * frame["visits"] > 80, "yes", "no")
        return frame.head(ROWS if n_rows is None else n_rows)
        # End Example
