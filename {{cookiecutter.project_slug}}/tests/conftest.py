"""What a test may ask for by name: `frame`, `X`, `y`, `features`, `served`, `client`, `example`, `rows`, `records`...

The model is trained once for all tests, and nothing is written into the project. Described by `pytest --fixtures`.
"""

pytest_plugins = ["ml_microservice.testing"]
