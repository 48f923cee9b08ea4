"""Traces of requests and of chunks of jobs, for OpenTelemetry; nothing of it is loaded while they are off."""
