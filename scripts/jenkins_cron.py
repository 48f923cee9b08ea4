"""When a job of Jenkins runs, as Jenkins writes it: cron with `H`, which spreads jobs over what it stands for."""

import re

ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
TERM = re.compile(r"(?:\*|H(?:\((\d+)-(\d+)\))?|(\d+)(?:-(\d+))?)(?:/(\d+))?")
"""Everything, a hash within a range, a number or a range; and a step."""


def cron_fault(text: str) -> str | None:
    """What is wrong with a schedule, in words, or nothing. Each line is a time; the first may be `TZ=...`."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if lines and re.fullmatch(r"TZ=[\w/+-]+", lines[0]):
        lines = lines[1:]
    if not lines:
        return "has no time in it"
    return next((fault for line in lines if (fault := _line_fault(line))), None)


def _line_fault(line: str) -> str | None:
    if line in ALIASES:
        return None
    values = line.split()
    if line.startswith("@"):
        return f"{line!r} is none of {', '.join(ALIASES)}"
    if len(values) != len(FIELDS):
        return f"{line!r} has {len(values)} fields instead of 5: minute, hour, day of the month, month, day of the week"
    for (name, least, most), value in zip(FIELDS, values, strict=True):
        for term in value.split(","):
            match = TERM.fullmatch(term)
            numbers = [int(number) for number in match.groups()[:4] if number] if match else []
            if match is None:
                return f"{term!r} is no {name} in {line!r}; Jenkins takes numbers, *, H, ranges and steps"
            if any(not least <= number <= most for number in numbers) or numbers != sorted(numbers):
                return f"{term!r} is no {name} in {line!r}, which is from {least} to {most}"
            if match[5] and not 1 <= int(match[5]) <= most:
                return f"{term!r} has a step that no {name} has in {line!r}"
    return None
