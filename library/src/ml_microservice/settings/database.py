"""Settings of the database."""

from typing import Annotated

from pydantic import SecretStr

from ml_microservice.settings.section import SECRET, Section
from ml_microservice.settings.urls import without_password


class DatabaseSettings(Section):
    """The database of records, feedback and jobs."""

    url: Annotated[str, without_password("set SERVICE__DATABASE__PASSWORD")] = "sqlite:///var/records.db"
    """SQLAlchemy URL without a password; the path of an SQLite file is relative to the project. Use PostgreSQL in
    production: `postgresql+psycopg://user@host:5432/name`."""
    password: Annotated[SecretStr | None, SECRET] = None
    """Password of the database user. A secret: set `SERVICE__DATABASE__PASSWORD`, never this file."""
    migrate: bool = True
    """Whether the first process that writes migrates the tables; if `false`, run `ml-service records migrate`."""
