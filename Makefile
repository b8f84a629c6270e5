# SPDX-License-Identifier: Apache-2.0
# The commands: `make demo`, `make test` and `make nightly`. Needs Debian's python3, python3-venv, git, gcc and make.

PYTHON ?= python3
# what `allot demo` takes: ONCE=1 verifies, shuts down and prints one JSON line
demo_options = $(if $(filter-out 0,$(ONCE)),--once)
# which checks `make test` runs: all of tox.ini, or ENV=lint,types
tox_options = $(if $(ENV),-e $(ENV))
# what `allot nightly` takes: STAY=1 goes on with what is committed
nightly_options = $(if $(filter-out 0,$(STAY)),--stay)
UV = uv==0.13.9

.PHONY: help setup demo test nightly lock clean python

help:
	@echo "make demo          a farm, a master and a production node here prove and deploy two releases; Ctrl-C ends it"
	@echo "make demo ONCE=1   the same, verified and shut down; the last line is one JSON object"
	@echo "make test          every check: lint, types, unit, e2e, docs, dropped (ENV=lint,unit for some)"
	@echo "make nightly       every release and component built from an empty store, a table of parts; may take an hour"
	@echo "make nightly STAY=1  then goes on testing what is committed; Ctrl-C ends it"
	@echo "make setup         only prepare both virtualenvs"
	@echo "make lock          write requirements/*.lock anew from the pyproject.toml files (UPGRADE=1: newest versions)"
	@echo "make clean         remove what the commands above have made"
	@echo "PYTHON=...         another Python than python3, 3.11 or newer"

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	    echo "error: $(PYTHON) is not here. apt-get install python3 python3-venv" >&2; exit 1; }

setup: python
	@$(PYTHON) requirements/environment.py demo
	@$(PYTHON) requirements/environment.py tests

demo: python
	@$(PYTHON) requirements/environment.py demo
	@var/env/demo/bin/python -m allotment demo $(demo_options)

test: python
	@$(PYTHON) requirements/environment.py tests
	@var/env/tests/bin/python -m tox run $(tox_options)

nightly: python
	@$(PYTHON) requirements/environment.py demo
	@var/env/demo/bin/python -m allotment nightly $(nightly_options)

lock: python
	@test -x var/env/lock/bin/uv || { $(PYTHON) -m venv var/env/lock && \
	    var/env/lock/bin/python -m pip install -qq --disable-pip-version-check "$(UV)"; }
	@$(PYTHON) requirements/lock.py --uv "$(CURDIR)/var/env/lock/bin/uv" $(if $(UPGRADE),--upgrade)

clean:
	@if [ -d var ]; then chmod -R u+w var; fi  # the parts in a store are read-only
	@rm -rf var .tox docs/_build docs/reference/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	@find . -name .git -prune -o -name .venv -prune -o \
	    \( -name __pycache__ -o -name '*.egg-info' \) -type d -prune -exec rm -rf {} +
