"""The database: from settings to an engine, its column types, and its migrations."""
