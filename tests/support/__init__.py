"""Helpers shared by tests: masks, real volumes, exact comparison."""
