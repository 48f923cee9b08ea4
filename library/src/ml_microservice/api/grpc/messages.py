"""The messages of the protocol's standard service, `inference.GRPCInferenceService`.

The table is its .proto in short: the fields of a message are numbered from 1 in their order. The classes are made from
it when this module is imported, so there is nothing to generate. They live in a pool of their own: generated modules
share one pool in a process and are bound to a version of protobuf, so theirs would clash with those of Triton's or
KServe's client in the same process.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
PARAMETERS = "map InferParameter parameters"
TENSOR = f"string name, string datatype, repeated int64 shape, {PARAMETERS}, InferTensorContents contents"
MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready",
    "ModelReadyRequest": "string name, string version",
    "ModelReadyResponse": "bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name, string version, repeated string extensions",
    "ModelMetadataRequest": "string name, string version",
    "TensorMetadata": "string name, string datatype, repeated int64 shape",
    "ModelMetadataResponse": "string name, repeated string versions, string platform, repeated TensorMetadata inputs,"
    " repeated TensorMetadata outputs",
    "InferInputTensor": TENSOR,
    "InferRequestedOutputTensor": f"string name, {PARAMETERS}",
    "ModelInferRequest": f"string model_name, string model_version, string id, {PARAMETERS},"
    " repeated InferInputTensor inputs, repeated InferRequestedOutputTensor outputs, repeated bytes raw_input_contents",
    "InferOutputTensor": TENSOR,
    "ModelInferResponse": f"string model_name, string model_version, string id, {PARAMETERS},"
    " repeated InferOutputTensor outputs, repeated bytes raw_output_contents",
    "InferParameter": "bool bool_param, int64 int64_param, string string_param, double double_param,"
    " uint64 uint64_param",
    "InferTensorContents": "repeated bool bool_contents, repeated int32 int_contents, repeated int64 int64_contents,"
    " repeated uint32 uint_contents, repeated uint64 uint64_contents, repeated float fp32_contents,"
    " repeated double fp64_contents, repeated bytes bytes_contents",
}
ONE_OF = {"InferParameter": "parameter_choice"}
"""Messages with a `oneof` of all their fields, and its name."""


def _classes() -> Mapping[str, Any]:
    file = FileDescriptorProto(name="service/open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if name in ONE_OF:
            message.oneof_decl.add(name=ONE_OF[name])
        for field in filter(None, fields.split(", ")):
            _add_field(message, *field.split())
            if name in ONE_OF:
                message.field[-1].oneof_index = 0
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def _add_field(message: DescriptorProto, *words: str) -> None:
    """A field from `[repeated|map] type name`; the keys of maps are strings."""
    *label, kind, name = words
    field = message.field.add(name=name, number=len(message.field) + 1, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if label:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if label == ["map"]:
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "string", "key")
        _add_field(entry, kind, "value")
        kind = f"{message.name}.{entry.name}"
    if kind[0].isupper():
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


CLASSES = _classes()
"""Classes of the messages, by name."""
