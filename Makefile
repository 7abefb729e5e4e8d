# Python 3.11 or newer; another one: make test PYTHON=python3.12
PYTHON ?= python3
# What pytest gets: make test ARGS="tests/store -k append"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check bench docs

help:
	@echo 'make run    serve the demo shop on http://127.0.0.1:$${PORT:-8000}'
	@echo 'make test   run every test against real servers (ARGS="…" for a part)'
	@echo 'make check  linters, types and import rules'
	@echo 'make docs   build the guide and the API reference into docs/site/'
	@echo 'make bench  measure against the raw drivers and eventsourcing; tables in bench/results/'

# The demo store in ./.projectionist, served and followed live.
run: .venv/.runs
	@exec .venv/bin/projectionist demo --serve

# Real PostgreSQL, MariaDB, MySQL and Chromium, installed if missing, running for this command only.
test: .venv/.tests
	@.venv/bin/python -m tests.servers run -- .venv/bin/python -m pytest $(ARGS)

check: .venv/.tests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

# Every link and docstring checked.
docs: .venv/.docs
	@.venv/bin/zensical build --strict -f docs/mkdocs.yml

# Servers with their own durability settings; some minutes (ARGS="pages sqlite" for one part and database, "--dry" to keep no files).
bench: .venv/.bench
	@.venv/bin/python -m tests.servers run --durable -- .venv/bin/python -m bench $(ARGS)

# --- the virtual environment, made anew when pyproject.toml changes -------------------------------------------------

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Python 3.11 or newer is needed: make test PYTHON=/path/of/python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'Python can make no virtual environment; as root, run: apt-get install python3-venv'; exit 1; }
	@$(PYTHON) -m venv .venv

install = @echo 'Installing into .venv …'; \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable

.venv/.runs: pyproject.toml | .venv/bin/python
	$(install) .
	@touch $@

.venv/.tests: pyproject.toml | .venv/bin/python
	$(install) '.[test]'
	@touch $@ .venv/.runs

.venv/.docs: pyproject.toml | .venv/bin/python
	$(install) '.[docs]'
	@touch $@ .venv/.runs

.venv/.bench: pyproject.toml | .venv/bin/python
	$(install) '.[test,bench]'
	@touch $@ .venv/.tests .venv/.runs
