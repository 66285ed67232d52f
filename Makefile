# Every target does its own set-up: it makes .venv on first use and brings it up to date when the dependencies change.
# PYTHON=python3.12 chooses the interpreter for a new .venv, WORKERS=4 the number of test processes.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?=
WORKERS ?= 2
export PYTHON

SETUP   := tools/environment.sh requirements-dev.lock pyproject.toml
CODE    := src tests examples benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo demo-fraud demo-clicks test check-deep lint format bench bench-peers lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.ready-demo ## the flights of New York, from definitions to predictions; about a minute
	@$(BIN)/python -m examples.flights.demo $(ARGS)

demo-fraud: $(VENV)/.ready-demo ## a million card transactions, windows over them, a stream; about a minute
	@$(BIN)/python -m examples.fraud.demo $(ARGS)

demo-clicks: $(VENV)/.ready-demo ## clicks through Kafka into features, live, with a worker killed half way; about a minute
	@$(BIN)/python -m examples.clicks.demo $(ARGS)

test: $(VENV)/.ready-dev ## every test but the long runs, in random order
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not deep" $(ARGS)

check-deep: $(VENV)/.ready-dev ## long runs: tens of millions of rows against the slow reference
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m deep --timeout=7200 $(ARGS)

lint: $(VENV)/.ready-dev ## linter, formatter and type checker
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/mypy --exclude /output/ examples

format: $(VENV)/.ready-dev ## put the code into the one format
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(VENV)/.ready-dev ## measure, beside the raw limits; writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/.ready-dev ## install Feast into an environment of its own, for make bench
	@$(BIN)/python -m benchmarks.peers

lock: $(VENV)/.ready-dev ## choose the newest versions of all dependencies again
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.11 --no-header --upgrade \
		--output-file requirements-dev.lock
	@echo "requirements-dev.lock is written; run make test"

clean: ## remove the environment, the caches and what the demo made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis examples/*/output
	@find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.ready-demo: $(SETUP)
	@tools/environment.sh demo

$(VENV)/.ready-dev: $(SETUP)
	@tools/environment.sh dev
