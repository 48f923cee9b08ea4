"""`python -m ml_microservice.cli`."""

from ml_microservice.cli import main

main()
