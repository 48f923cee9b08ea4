"""Sinks, to which records are shipped: one module for each kind."""
