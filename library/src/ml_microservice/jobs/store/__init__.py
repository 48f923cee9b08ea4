"""The jobs in the database: their rows are the truth about them, whatever happens to messages and workers."""
