"""Tests of hypermail; run them with C{python -m twisted.trial hypermail}."""

from contextlib import suppress

with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # No test is about how fast the machine is at the moment.
    settings.register_profile("hypermail", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("hypermail")
