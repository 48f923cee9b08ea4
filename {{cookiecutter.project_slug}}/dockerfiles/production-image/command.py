#!/opt/venv/bin/python
"""The command `service` of the image, where the project is not installed but stands in /app."""

import sys

from ml_microservice.cli import main

sys.argv[0] = "service"
main()
