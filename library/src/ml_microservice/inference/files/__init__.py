"""Predictions for files of any size: files are cut into parts, each is predicted alone, and the results are joined."""
