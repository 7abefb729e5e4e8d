"""Audit trails: what goes in, how it is packed, and the check that needs no database."""
