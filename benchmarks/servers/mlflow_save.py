"""Store the model as MLflow has it: the pipeline in the scikit-learn flavour, or our engine as a Python function.

Usage: python mlflow_save.py FOLDER
"""

import os
import sys
from typing import Any

import joblib
import mlflow
from predictor import load_predictor


class Engine(mlflow.pyfunc.PythonModel):
    """Our engine as a Python function."""

    def load_context(self, context: Any) -> None:
        """Load the model."""
        self.answer = load_predictor()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[Any]:
        """Answer the rows of a frame."""
        rows = model_input.to_dict("records")
        return self.answer([{key: None if value != value else value for key, value in row.items()} for row in rows])


if __name__ == "__main__":
    requirements = ["mlflow"]
    if os.environ["BENCH_ENGINE"] == "1":
        mlflow.pyfunc.save_model(sys.argv[1], python_model=Engine(), pip_requirements=requirements)
    else:
        pipeline = joblib.load(os.environ["BENCH_PIPELINE"])
        mlflow.sklearn.save_model(
            pipeline, sys.argv[1], pip_requirements=requirements, serialization_format="cloudpickle"
        )
