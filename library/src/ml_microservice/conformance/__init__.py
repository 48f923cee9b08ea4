"""The conformance kit: hooks, `features.yaml` and `config.yaml`, run against each other before anything is trained."""
