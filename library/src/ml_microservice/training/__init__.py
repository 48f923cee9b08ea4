"""From the user's hooks to a model version: load, check, split, fit, evaluate, write."""
