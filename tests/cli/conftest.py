"""Fixtures of the reproduction, for its command."""

from tests.nnunet.conftest import dataset

__all__ = ["dataset"]
