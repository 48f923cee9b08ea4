"""The process `ml-service records ship`, which runs on its own or as a child of the service."""

import logging
import os
import signal
import sys
import threading

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.shipper import Shipper, sole_shipper
from ml_microservice.records.sink_thread import StopEvent
from ml_microservice.records.sinks.factory import open_sinks
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
TAKEOVER_SECONDS = 0.5
"""Interval at which a waiting process tries to become the shipper of the folder."""
TRIES = 3
"""Failures in a row after which `--once` gives up on a sink."""
NICE = 15
"""Niceness of a child: answering requests has priority. On a busy core it gets about a thirtieth of the time."""


def ship_until_stopped(settings: Settings, drain_seconds: float, is_child: bool) -> None:
    """Ship until SIGTERM or SIGINT. While another process ships the same folder, wait to take over.

    Args:
        settings: the project's settings.
        drain_seconds: time for shipping the rest after the signal.
        is_child: whether the service started this process: it then runs at low priority, ignores SIGINT, and stops
            when its stdin ends.

    Raises:
        ServiceError: no sink is configured, or a library that a sink needs is not installed.
    """
    stop = StopEvent()
    _listen(stop, is_child)
    sinks = open_sinks(settings)
    directory = settings.records_directory
    is_waiting = False
    while True:
        with sole_shipper(directory) as is_sole:
            if is_sole:
                logger.info("records are shipped to %s", ", ".join(sink.name for sink in sinks))
                Shipper(directory, settings.name, sinks, stop).run(drain_seconds)
                return
        if not is_waiting:
            logger.info("another process ships the records of %s; this one takes over when it ends", directory)
            is_waiting = True
        if stop.wait(TAKEOVER_SECONDS):
            return


def ship_once(settings: Settings) -> bool:
    """Ship the records that are stored now; returns whether all sinks have taken all of them.

    Raises:
        ServiceError: no sink is configured, a library that a sink needs is not installed, or another process ships.
    """
    stop = StopEvent(tries=TRIES, waits_for_writers=False)
    stop.set()
    sinks = open_sinks(settings)
    with sole_shipper(settings.records_directory) as is_sole:
        if not is_sole:
            advice = "`ml-service records status` says how far it is"
            raise ServiceError(Fault("another process ships these records", advice=advice))
        return Shipper(settings.records_directory, settings.name, sinks, stop).run()


def _listen(stop: StopEvent, is_child: bool) -> None:
    """Set the stop event on a signal, and for a child when its stdin ends.

    A thread sets it, because a signal handler may interrupt the main thread while that holds the event's lock.
    """
    reading, writing = os.pipe()
    for number in SIGNALS:
        signal.signal(number, lambda *_: os.write(writing, b"."))
    threading.Thread(target=_set_when_readable, args=(reading, stop), daemon=True).start()
    if is_child:
        os.nice(NICE)
        # Ctrl-C reaches all processes of a terminal. The service stops its child itself, after its last record.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_set_when_readable, args=(sys.stdin.fileno(), stop), daemon=True).start()


def _set_when_readable(descriptor: int, stop: StopEvent) -> None:
    """Wait until there is something to read, or the other end is closed; then set the stop event."""
    os.read(descriptor, 1)
    stop.set()
