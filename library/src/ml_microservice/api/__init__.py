"""The HTTP service: thin over `ml_microservice.inference.core`."""
