"""Whether a model may go on: evaluated beside the champion on the same held-out rows, and judged by the settings."""
