"""Ages as people write them: `24h`, `7d`."""

from datetime import timedelta

from ml_microservice.errors import Fault, ServiceError
from ml_microservice.records.period import period


def age(text: str) -> timedelta:
    """The length of a time.

    Raises:
        ServiceError: it is none.
    """

    try:
        return period(text)
    except ValueError as error:
        raise ServiceError(Fault(str(error))) from None
