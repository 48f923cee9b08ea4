"""Settings of the HTTP service."""

from typing import Annotated

from pydantic import Field, SecretStr

from ml_microservice.settings.section import SECRET, Section


class ApiSettings(Section):
    """The HTTP service: its address, keys and limits."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` in a container."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes any free port."""
    grpc_port: int | None = Field(None, ge=1, le=65535)
    """Port of the Open Inference Protocol over gRPC, shared by all workers; off by default. Needs the extra `grpc`."""
    workers: int = Field(1, ge=1, le=256)
    """Number of processes that answer requests; one that dies is replaced."""
    preload: bool = True
    """Whether several workers are forked from one process that has read the model, and share its memory. Set `false`
    where a library does not survive a fork, such as CUDA: each worker then reads its own copy."""
    keys: Annotated[tuple[SecretStr, ...], SECRET] = ()
    """API keys, separated by commas; a caller sends one of them as `X-API-Key`. Without keys the API is open, which
    `environment: production` refuses. A secret: set `SERVICE__API__KEYS`, never this file."""
    admin_keys: Annotated[tuple[SecretStr, ...], SECRET] = ()
    """API keys of operators, separated by commas: they allow everything that an ordinary key does, and the list of all
    jobs. A secret: set `SERVICE__API__ADMIN_KEYS`, never this file."""
    max_body_bytes: int = Field(16 * 2**20, ge=1024)
    """Largest request body in bytes, except for jobs; a larger one is answered with 413."""
    max_batch_rows: int = Field(10_000, ge=1)
    """Most rows in one request to `/predict/batch`; more are answered with 413."""
    max_concurrency: int = Field(256, ge=1)
    """Most concurrent requests per process; one more is answered with 429 and `Retry-After`. Health checks and metrics
    are exempt."""
    timeout_seconds: float = Field(30, gt=0)
    """Longest time that a request waits for the model; then the answer is 503 and nothing is computed."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call this service; none by default."""
    shutdown_seconds: int = Field(30, ge=1)
    """Time that open requests have to finish after SIGTERM."""

    @property
    def opening_keys(self) -> tuple[str, ...]:
        """All valid values of `X-API-Key`, those of operators included; none if the API is open."""
        return tuple(key.get_secret_value() for key in (*self.keys, *self.admin_keys)) if self.keys else ()
