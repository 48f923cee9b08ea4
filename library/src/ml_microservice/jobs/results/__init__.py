"""The results of jobs: how the result of a chunk is stored, and how the results of a job are read."""
