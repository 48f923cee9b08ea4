"""Monitors a model in service by its records: its live performance, and the drift of its inputs."""
