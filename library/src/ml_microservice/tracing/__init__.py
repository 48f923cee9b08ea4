"""Traces of requests and of chunks of jobs, for OpenTelemetry; nothing of its SDK is loaded while they are off."""
