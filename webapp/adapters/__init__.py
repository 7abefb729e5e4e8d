"""Stores of events that others wrote, as `EventSource`: a package for each, found by the tables it knows."""

from webapp.adapters.detection import open_source

__all__ = ["open_source"]
