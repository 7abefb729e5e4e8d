"""Throwaway PostgreSQL, MariaDB, MySQL and Chromium for the tests.

    python -m tests.servers run -- CMD…   start all, run CMD, stop all
    python -m tests.servers up            start all in the background, for developers
    python -m tests.servers down          stop those

Nothing here is a mock: each is the real server, installed from the distribution's packages,
started on a free loopback port in a temporary folder and removed afterwards.
"""
