"""Databases that Ecotone (PHP) wrote, read without it."""

from webapp.adapters.ecotone.source import EcotoneSource

__all__ = ["EcotoneSource"]
