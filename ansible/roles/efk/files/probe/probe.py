"""Send one record as a service does, and say where it will be found: python3 probe.py HOST PORT CA_FILE_OR_NOTHING.

The shared key is read from FLUENTD_SHARED_KEY. Exits with 1, and says why, if Fluentd has not acknowledged the record.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from forward_protocol import ForwardConnection, ForwardError, entry

TAG = "verify"


def main() -> None:
    """Send it."""
    host, port, *ca_file = sys.argv[1:]
    now = datetime.now(UTC)
    record = {"prediction_id": uuid4().hex, "@timestamp": now.isoformat(), "route": "verify"}
    try:
        connection = ForwardConnection(
            host, int(port), 10, bool(ca_file), Path(ca_file[0]) if ca_file else None, os.environ["FLUENTD_SHARED_KEY"]
        )
        connection.send(f"{TAG}.predict", [entry(now.isoformat(), record)])
    except ForwardError as error:
        sys.exit(str(error))
    print(json.dumps({"index": f"{TAG}-{now:%Y.%m.%d}", "id": record["prediction_id"]}))


if __name__ == "__main__":
    main()
