"""OpenTelemetry traces of requests and of chunks of jobs. The SDK is loaded only if tracing is on."""
