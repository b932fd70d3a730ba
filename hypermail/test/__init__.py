"""Tests of hypermail; run them with C{python -m twisted.trial hypermail}."""
