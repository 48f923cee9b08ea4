"""Rules for URLs in settings."""

from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator


def without_password(remedy: str) -> AfterValidator:
    """A rule: the URL carries no password, since the file is committed and URLs are logged.

    Args:
        remedy: how to give the password instead, such as "set SERVICE__DATABASE__PASSWORD"; empty if there is no way.
    """

    def check(url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True):
            raise ValueError(f"the URL carries a password: take it out{remedy and f' and {remedy}'}")
        return url

    return AfterValidator(check)


def with_scheme(*schemes: str) -> AfterValidator:
    """A rule: the URL has one of these schemes, and a host where it is an HTTP URL; an empty one is left alone."""

    def check(url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url and (parts.scheme not in schemes or (parts.scheme in ("http", "https") and not parts.hostname)):
            *others, last = (f"{scheme}://" for scheme in schemes)
            raise ValueError(f"{url!r} is no URL of {', '.join(others)} or {last}")
        return url

    return AfterValidator(check)


def _empty_as_none(value: object) -> object:
    return None if value == "" else value


EMPTY_AS_NONE = BeforeValidator(_empty_as_none)
"""A rule: an empty environment variable means that there is none."""
