"""From a request to a stored job: receive the body, split it into chunks, insert the job, publish its messages."""
