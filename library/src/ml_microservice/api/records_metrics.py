"""Metrics of shipping, read from the files of records when they are asked for, whichever process answers."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_microservice.records.status import SinkStatus, StatusReader
from ml_microservice.settings import Settings


class RecordsMetrics(Collector):
    """How far each sink is, and what is set aside.

    Args:
        settings: the project's.
    """

    def __init__(self, settings: Settings) -> None:
        sinks = settings.records.sinks
        self._reader = StatusReader(settings.records_directory, settings.name, sinks, is_exact=False)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        status = self._reader.read()
        sinks = status.sinks
        yield _by_sink("records_lag_records", "Records that a sink has not taken.", sinks, "lag_records")
        yield _by_sink("records_lag_seconds", "Age of the oldest of them.", sinks, "lag_seconds")
        yield _by_sink("records_dead_letters", "Records that a sink refused for good.", sinks, "dead_letters")
        yield GaugeMetricFamily("records_quarantined", "Lines of segments that were no records.", status.quarantined)
        foreign = len(status.foreign_segments)
        yield GaugeMetricFamily("records_foreign_segments", "Segments of another format, left alone.", foreign)
        yield CounterMetricFamily(
            "records_torn_bytes", "Torn ends of segments, which were left out.", status.torn_bytes
        )

    def describe(self) -> list[Metric]:
        """Nothing: the names are known once they are asked for."""
        return []


def _by_sink(name: str, help_text: str, sinks: tuple[SinkStatus, ...], field: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=["sink"])
    for sink in sinks:
        family.add_metric([sink.sink], getattr(sink, field))
    return family
