"""Ages as people write them: `24h`, `7d`."""

from datetime import timedelta

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.period import period


def age(text: str) -> timedelta:
    """The duration that an age means.

    Raises:
        ServiceError: the text is no age.
    """

    try:
        return period(text)
    except ValueError as error:
        raise ServiceError(Fault(str(error))) from None
