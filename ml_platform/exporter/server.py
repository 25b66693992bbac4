"""The HTTP server that Prometheus scrapes; each scrape reads the storage anew."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ml_platform.exporter.readings import Reading
from ml_platform.exporter.series import ALL

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric


class Collector:
    """What prometheus_client asks at each scrape; where the storage cannot be read the scrape fails."""

    def __init__(self, read: Callable[[], Iterable[Reading]]):
        self.read = read

    def describe(self) -> list["Metric"]:
        """Nothing: else registering would be a first scrape."""
        return []

    def collect(self) -> Iterable["Metric"]:
        """All series with their readings."""
        from prometheus_client.core import GaugeMetricFamily

        families = {one: GaugeMetricFamily(one.name, one.meaning, labels=one.labels) for one in ALL}
        for reading in self.read():
            families[reading.series].add_metric(list(reading.labels), float(reading.value))
        return families.values()


def serve(read: Callable[[], Iterable[Reading]], host: str, port: int) -> tuple["WSGIServer", "Thread"]:
    """A server of `/metrics` on an address, in a thread of its own; close it with `shutdown`.

    Raises:
        OSError: the port is in use.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(Collector(read))
    return start_http_server(port, host, registry)
