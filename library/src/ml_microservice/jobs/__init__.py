"""Asynchronous predictions: submission, store, queue, worker, results and webhooks of jobs."""
