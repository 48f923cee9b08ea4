"""MLServer: a runtime of our own with the compiled engine inside, behind its REST server and its batcher."""

from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from predictor import load_predictor


class EngineModel(MLModel):
    """The runtime."""

    async def load(self) -> bool:
        """Load the model."""
        self.answer = load_predictor()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the rows of one or several requests."""
        columns = {tensor.name: _values(tensor) for tensor in payload.inputs}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        labels = [answer["prediction"] for answer in self.answer(rows)]
        output = StringCodec.encode_output("predict", labels)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


def _values(tensor: Any) -> list[Any]:
    values = list(tensor.data)
    if tensor.datatype == "BYTES":
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    return values
