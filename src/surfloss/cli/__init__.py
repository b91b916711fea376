"""The command line: one file a command; each parses its options, calls the library and prints."""

from surfloss.cli.main import app

__all__ = ["app"]
