"""The sink `stdout`: prints JSON lines, for clusters that collect the output of containers."""

import os
from collections.abc import Sequence

import orjson

from ml_microservice.records.record import Record
from ml_microservice.records.sinks.sink import SinkDown

STDOUT = 1


class StdoutSink:
    """Prints each record as a JSON object on a line of its own."""

    name = "stdout"

    def __init__(self) -> None:
        self._may_be_torn = True

    def send(self, records: Sequence[Record]) -> None:
        """Print records.

        Raises:
            SinkDown: stdout cannot be written.
        """
        data = b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)
        # The last line may be torn, if this process failed or a previous one was killed. An empty line does no harm.
        view = memoryview(b"\n" + data if self._may_be_torn else data)
        self._may_be_torn = True
        try:
            while view:
                view = view[os.write(STDOUT, view) :]
        except OSError as error:
            raise SinkDown(f"cannot be written: {error.strerror}") from error
        self._may_be_torn = False

    def close(self) -> None:
        """Do nothing: there is no connection."""
