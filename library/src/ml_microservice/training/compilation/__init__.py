"""Compilation of a fitted model: it is rewritten as data, proved equal to the Python objects, and timed."""
