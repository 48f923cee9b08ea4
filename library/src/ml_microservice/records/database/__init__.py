"""The database of predictions and feedback. It is never imported by a process that serves predictions."""
