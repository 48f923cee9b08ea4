"""How far shipping is behind."""

from ml_microservice.records.status import Status


def is_shipped(status: Status) -> bool:
    """Whether all sinks have taken all records."""
    return not any(sink.lag_records for sink in status.sinks)
