#!/opt/venv/bin/python -IS
"""Health check of a container, installed as `healthy [PORT PATH]`; exits with 0 if the service answers 200.

It is called every few seconds, so it imports next to nothing.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

port, path = sys.argv[1:] or (os.environ.get("SERVICE__API__PORT", "8000"), "/health/ready")
connection = HTTPConnection("127.0.0.1", int(port), timeout=4)
try:
    connection.request("GET", path)
    status = connection.getresponse().status
except (OSError, HTTPException) as error:
    sys.exit(f"{path} is not answered: {error}")
if status != 200:
    sys.exit(f"{path} is answered {status}")
