"""Webhooks: signed requests to the URL of a caller that say that a job is finished."""
