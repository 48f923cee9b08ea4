"""Asynchronous predictions: rows of the database, messages to workers, and what the workers do."""
