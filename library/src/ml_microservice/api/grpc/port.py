"""Requirements of gRPC, checked before anything is loaded: later, the error would come from a worker process."""

import socket

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.extras import how_to_install, is_installed
from ml_microservice.settings import ApiSettings


def require_grpc(api: ApiSettings) -> None:
    """See that gRPC is installed, where it is asked for.

    Raises:
        ServiceError: it is not.
    """
    if api.grpc_port is not None and not is_installed("grpc"):
        message = "api.grpc_port is set, but gRPC is not installed"
        advice = f"{how_to_install('grpc')}; or remove api.grpc_port"
        raise ServiceError(Fault(message, file="config.yaml", advice=advice))


def require_free_port(api: ApiSettings) -> None:
    """Check that gRPC is installed, and that no other process, which would take requests, listens on the port.

    Raises:
        ServiceError: one does, or gRPC is not installed.
    """
    require_grpc(api)
    if api.grpc_port is None:
        return
    with socket.socket(socket.AF_INET6 if ":" in api.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((api.host, api.grpc_port))
        except OSError as error:
            message = f"cannot listen on {api.host}:{api.grpc_port}: {error.strerror}"
            raise ServiceError(Fault(message, file="config.yaml", advice="choose another as api.grpc_port")) from None
