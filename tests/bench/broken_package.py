"""A library that is installed and does not import."""

raise ImportError("no library for this processor")
