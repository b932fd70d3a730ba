"""The version of hypermail: this is the one place; setup.cfg, the docs and the programs read it."""

__version__ = "0.1.0"
