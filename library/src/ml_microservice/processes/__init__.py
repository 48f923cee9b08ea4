"""Processes beside and below the one that was started: commands as children, forked workers, their shared metrics."""
