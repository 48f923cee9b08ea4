"""The machinery of a machine-learning microservice: you should not have to open it.

What is yours to fill in is the package `model` beside it, and `config.yaml`.
"""
