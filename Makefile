# `make demo` and `make test` need Python 3.11 or newer and make, and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Bytecode is written: without it every Dagster process takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test storm drill check format bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## Build .venv from the lock; does nothing when nothing changed

$(READY): requirements/uv.txt requirements/dev.txt pyproject.toml
	@python=""; for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$name >/dev/null && $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "Python 3.11 or newer with its venv module is needed; set PYTHON=/path/to/python3"; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python --version) ..."; \
	$$python -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q analytics_platform
	@touch $(READY)

demo: $(READY) ## Replay real flights through the whole path, with the Dagster UI
	@$(BIN)/analytics-platform demo

test: $(READY) ## Run all tests, on Apache Kafka too where Java and Maven are there
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term --cov-report=xml:build/coverage.xml

storm: $(READY) ## The crash tests with 40 lakes, five random kills each; takes minutes
	@CRASH_LAKES=40 $(BIN)/python -m pytest --timeout 3600 analytics_platform_tests/test_crash.py

drill: $(READY) ## All flights out of order, doubled and late, every mart held against its answer; then a service stopped for a minute
	@DRILL_EVENTS=all $(BIN)/python -m pytest --timeout 7200 -s analytics_platform_tests/demo/test_drill.py analytics_platform_tests/test_outage.py

check: $(READY) ## Lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/analytics-platform contracts check

format: $(READY) ## Format and mend what can be mended
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

bench: $(READY) ## Measure Kafka to gold against a bare drain of the same topic; needs Java and Maven
	@$(BIN)/python -m benchmarks.pipeline

lock: $(READY) ## Pin what pyproject.toml asks for and the lock lacks; UPGRADE=1 pins everything anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group dev --extra postgres $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements/dev.txt
	@grep -A 1000 '^uv==' requirements/dev.txt | awk 'NR==1 || /^ /{print; next} {exit}' > requirements/uv.txt

clean: ## Remove what the targets made
	@rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
