"""Predicting files of any size: cut into parts, each predicted by itself, then joined."""
