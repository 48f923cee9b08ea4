"""Your hooks, features.yaml and config.yaml fit each other: all checks of `make check`, as a test."""

from ml_microservice.conformance.kit import run_checks


def test_every_check_passes(settings):
    results = list(run_checks(settings.root))
    assert [str(fault) for result in results for fault in result.faults] == []
    assert {result.outcome for result in results} == {"passed"}
