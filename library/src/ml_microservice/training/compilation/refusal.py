"""Why something is not compiled."""


class Refusal(Exception):
    """A step or an estimator that has no compiled form; the text names it and says why."""
