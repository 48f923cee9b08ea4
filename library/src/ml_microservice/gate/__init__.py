"""The gate: a model is evaluated beside the champion on the same held-out rows, and judged by the settings."""
