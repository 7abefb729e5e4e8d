"""The tests of Projectionist; `make test` runs them against real servers (tests/servers)."""
