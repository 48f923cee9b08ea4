"""`features.yaml` and all that is derived from it: request models, the frame's layout and schema, examples."""
