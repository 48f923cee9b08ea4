"""How reports write numbers."""

UNDEFINED = "\N{EN DASH}"


def percent(share: float) -> str:
    """A share of 1; neither nothing nor all is shown by rounding."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9\N{NO-BREAK SPACE}%"
    return (
        "< 0.1\N{NO-BREAK SPACE}%" if text == "0.0" and share > 0 else f"{text.removesuffix('.0')}\N{NO-BREAK SPACE}%"
    )


def number(value: float | None) -> str:
    """Three digits, or whole thousands."""
    if value is None:
        return UNDEFINED
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:#.3g}".removesuffix(".")


def limit(value: float) -> str:
    """As `number`, but with whole years and counts as people write them."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A time in words."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
