# Every target sets up .venv by itself when it is missing, or older than pyproject.toml or constraints.txt.
# make PYTHON=python3.12 ...     another interpreter for .venv
# make CONSTRAINTS= ...          the newest versions instead of the tested ones
# make test ARGS="-k warp"       arguments for the tests

PYTHON      ?= python3
CONSTRAINTS ?= constraints.txt
OUT         ?= demo-report
ARGS        ?=

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow bench lint docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

venv: $(STAMP)  ## set up .venv: poolscope with all its extras, editable

# The stamp goes first and comes back last: after a failed or interrupted installation there is none.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@rm -f $@
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[all,dev]"
	@touch $@

demo: $(STAMP)  ## train a small network on real images, measure it before and after; writes demo-report/
	$(BIN)/poolscope demo --out $(OUT)

# One thread a process: the processes share the cores already.
test: $(STAMP)  ## the tests, without the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(STAMP)  ## the slow tests alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m slow $(ARGS)

bench: $(STAMP)  ## every benchmarks/bench_*.py, one after another
	@set -e; found=; for script in benchmarks/bench_*.py; do \
		[ -e "$$script" ] || continue; found=yes; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done; [ -n "$$found" ] || { echo "no benchmarks/bench_*.py here" >&2; exit 1; }

lint: $(STAMP)  ## ruff, mypy, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Strict: a link or an anchor that leads nowhere is an error.
docs: $(STAMP)  ## the documentation as pages, into site/
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[docs]"
	$(BIN)/python docs/make_claims.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove caches, builds and the demo's report; .venv stays
	rm -rf demo-report site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info src/*.egg-info
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
