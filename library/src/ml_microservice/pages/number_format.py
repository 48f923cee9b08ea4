"""Formats numbers for reports."""

UNDEFINED = "\N{EN DASH}"


def percent(share: float) -> str:
    """A share as a percentage. Rounding never shows 0 % or 100 % for a share that is neither."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9\N{NO-BREAK SPACE}%"
    return (
        "< 0.1\N{NO-BREAK SPACE}%" if text == "0.0" and share > 0 else f"{text.removesuffix('.0')}\N{NO-BREAK SPACE}%"
    )


def number(value: float | None) -> str:
    """A number with three significant digits, or as an integer from 1000 on."""
    if value is None:
        return UNDEFINED
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:#.3g}".removesuffix(".")


def limit(value: float) -> str:
    """A number with four significant digits, or as an integer from 10,000 on, so that years stay whole."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A duration in minutes and seconds."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
