"""The database of predictions and feedback. A process that serves predictions must not import it."""
