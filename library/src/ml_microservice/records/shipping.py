"""Shipping as a process: `ml-service records ship`, on its own or as a child of the service."""

import logging
import os
import signal
import sys
import threading

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.carrier import Ending
from ml_microservice.records.shipper import Shipper, sole_shipper
from ml_microservice.records.sinks.chosen import open_sinks
from ml_microservice.settings import Settings

logger = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
TURN_SECONDS = 0.5
"""Time between two tries to become the shipper of the folder."""
TRIES = 3
"""How often a sink may fail in a row before `--once` gives up."""
NICE = 15
"""Of a child: answering requests comes first. On a core of which nothing is left, it has a thirtieth."""


def ship_until_told(settings: Settings, drain_seconds: float, is_child: bool) -> None:
    """Ship until SIGTERM or SIGINT, waiting for as long as another process ships the same folder.

    Args:
        settings: of the project.
        drain_seconds: time to ship what is left then.
        is_child: whether to end with the process at the other end of stdin, and to give way to it.

    Raises:
        ServiceError: there is no sink, or what one needs is not installed.
    """
    ending = Ending()
    _listen(ending, is_child)
    sinks = open_sinks(settings)
    directory = settings.records_directory
    is_waiting = False
    while True:
        with sole_shipper(directory) as is_sole:
            if is_sole:
                logger.info("records are shipped to %s", ", ".join(sink.name for sink in sinks))
                Shipper(directory, settings.name, sinks, ending).run(drain_seconds)
                return
        if not is_waiting:
            logger.info("another process ships the records of %s; this one takes over when it ends", directory)
            is_waiting = True
        if ending.wait(TURN_SECONDS):
            return


def ship_once(settings: Settings) -> bool:
    """Ship what is there; tells whether all sinks have all of it.

    Raises:
        ServiceError: there is no sink, what one needs is not installed, or another process ships.
    """
    ending = Ending(tries=TRIES, waits_for_writers=False)
    ending.set()
    sinks = open_sinks(settings)
    with sole_shipper(settings.records_directory) as is_sole:
        if not is_sole:
            advice = "`ml-service records status` says how far it is"
            raise ServiceError(Fault("another process ships these records", advice=advice))
        return Shipper(settings.records_directory, settings.name, sinks, ending).run()


def _listen(ending: Ending, is_child: bool) -> None:
    """Be told of the end by threads: a signal's handler could come while the main thread holds the event's lock."""
    reading, writing = os.pipe()
    for number in SIGNALS:
        signal.signal(number, lambda *_: os.write(writing, b"."))
    threading.Thread(target=_await_end, args=(reading, ending), daemon=True).start()
    if is_child:
        os.nice(NICE)
        # Ctrl-C reaches all processes of a terminal; the service tells its child itself, after its last record.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_await_end, args=(sys.stdin.fileno(), ending), daemon=True).start()


def _await_end(descriptor: int, ending: Ending) -> None:
    """Wait until there is something to read, or the other end is closed."""
    os.read(descriptor, 1)
    ending.set()
