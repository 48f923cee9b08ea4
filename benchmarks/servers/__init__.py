"""The services that are measured: each file is one, run by the Python of its own environment."""
