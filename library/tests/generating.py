"""How much is made up where a test generates its cases."""

import os

from hypothesis import HealthCheck, settings


def many(count: int) -> settings:
    """Settings for so many cases in continuous integration, and for a fifth of them elsewhere."""
    unimportant = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    cases = count if os.environ.get("CI") else count // 5
    return settings(max_examples=cases, deadline=None, suppress_health_check=unimportant)
