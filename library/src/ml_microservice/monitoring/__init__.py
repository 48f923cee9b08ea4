"""What the records tell of a model in service: how right it is, and whether its inputs have drifted."""
