"""The HTTP service: thin over `service.inference.core`."""
