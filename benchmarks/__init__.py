"""Measurements of hypermail and the bad networks that they run through. Not installed: they need a checkout."""
