"""The compiled engine: a model's preprocessing and estimator as numpy and ONNX, proved equal to the Python objects."""
