"""The steps that bring the tables from one revision to the next, for Alembic."""
