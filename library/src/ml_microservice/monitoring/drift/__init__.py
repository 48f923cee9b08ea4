"""Drift: whether inputs and predictions in service still have the distributions of training."""
