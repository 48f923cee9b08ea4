"""The Open Inference Protocol over gRPC, where `api.grpc_port` is set: needs the extra `grpc`."""
