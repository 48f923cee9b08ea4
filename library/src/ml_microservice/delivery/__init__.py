"""Delivery: what `make` and Jenkins call to lock, build, check, push and deploy the image of a project."""
