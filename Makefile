# Two commands: `make demo` and `make test`. Both make the virtual environment when it is not there.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help demo test test-others test-ray lint format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## run the embedded benchmark on this machine and write results/leaderboard.html
	$(PY) -m orchestrator run benchmarks.yaml demo

test: lint test-others test-ray  ## the whole test suite

test-others: $(VENV)/.installed  # worksteal leaves neighbours with one worker, so what they share is made once
	$(PY) -m pytest -n 2 --dist worksteal -m "not ray"

test-ray: $(VENV)/.installed  # its own files alone: to collect all tests means to import what all of them need
	$(PY) -m pytest -m ray $$(grep -rl "mark\.ray" tests --include="test_*.py")

lint: $(VENV)/.installed  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.installed  ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:  ## remove the demo's data and all results; the virtual environment stays
	rm -rf data results/trials results/plans results/leaderboard.*
