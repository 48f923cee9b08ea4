"""The exception of everything that has no compiled form."""


class Refusal(Exception):
    """A step or an estimator has no compiled form; the message names it and says why."""
