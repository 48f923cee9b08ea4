"""Where the training data comes from: yours to fill in.

What stands between `# Example` and `# End Example` belongs to the example; `make eject-example` empties it.
"""

# Example
from pathlib import Path

# End Example
import pandas as pd

# Example
DATA_FILE = Path(__file__).parent / "data" / "diabetes.csv"
# End Example


class DataLoader:
    """Loads the training data, from wherever it is: a file, a database, a bucket."""

    def load_data(self, n_rows: int | None = None) -> pd.DataFrame:
        """One frame with everything that training uses: the features, the target and, if there is one, the entity id.

        Args:
            n_rows: load at most so many rows, for a quick check; all of them by default.
        """
        # Example
        return pd.read_csv(DATA_FILE, nrows=n_rows)
        # End Example
