"""Compiling a fitted model: rewriting it as data, proving the result equal to the Python objects, and timing both."""
