"""The models that are measured, as the hooks that a data scientist would write: `train.py` of four projects."""
