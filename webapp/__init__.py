"""Projectionist: see and operate event-sourced systems."""

__version__ = "0.1.0"
