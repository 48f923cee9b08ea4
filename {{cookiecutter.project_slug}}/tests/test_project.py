"""Your hooks, features.yaml and config.yaml fit each other: what `make check` looks at, as a test."""


def test_every_check_passes(checks):
    assert [str(fault) for result in checks for fault in result.faults] == []
    assert {result.outcome for result in checks} == {"passed"}
