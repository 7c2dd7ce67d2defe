# `make help` lists what can be done. Everything happens in .venv, which is made when needed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
RUN := $(VENV)/bin
PIP := $(RUN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# The first Python of 3.11 or later in the path that can make a virtual environment.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

# The folder that `make demo` works on, by default this one, and the broker it uses.
DIR ?=
URL ?=
# More arguments for the tests or the benchmarks: make test ARGS="-k settings".
ARGS ?=

.PHONY: help
help: ## List the targets
	@echo "make TARGET [VARIABLE=value ...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 \2/p' $(MAKEFILE_LIST) \
	| while read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done

# A stamp per step, so that a second run costs nothing; a changed pyproject.toml runs it again.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "no Python of 3.11 or later with venv found;" \
	"install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable .
	@touch $@

# With the clients of all brokers.
$(VENV)/.all: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[all]'
	@touch $(VENV)/.core $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[all,dev]'
	@touch $(VENV)/.core $(VENV)/.all $@

.PHONY: setup
setup: $(VENV)/.dev ## Install XQueue, all extras and the tools into .venv
	@echo "ready: $(RUN)/xqueue"

.PHONY: demo
# By the environment, so that neither make nor the shell reads anything into a name.
demo: export DEMO_DIR = $(value DIR)
demo: export DEMO_URL = $(value URL)
demo: $(VENV)/$(if $(filter-out sqlite:% memory:%,$(URL)),.all,.core) ## Show XQueue at work, in a minute (DIR=folder, URL=broker)
	@exec $(RUN)/python examples/demo.py $${DEMO_DIR:+--dir="$$DEMO_DIR"} $${DEMO_URL:+--url="$$DEMO_URL"}

.PHONY: test
test: $(VENV)/.dev ## Run all tests on every backend, services included (ARGS=...)
	$(RUN)/python tests/run.py $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## Check style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/pyright

.PHONY: format
format: $(VENV)/.dev ## Put the code into its form
	$(RUN)/ruff check --fix --select I .
	$(RUN)/ruff format .

.PHONY: package
package: $(VENV)/.dev ## Build sdist and wheel; try the wheel in an environment of its own
	rm -rf build/wheel build/try
	$(RUN)/python -m build --outdir build/wheel .
	$(RUN)/python -m venv build/try
	build/try/bin/python -m pip --disable-pip-version-check install --quiet \
	--constraint constraints.txt build/wheel/*.whl
	cd build/try && bin/python -W error -c 'from xqueue_core.plugins import BACKENDS, list_plugins, load_backend; \
	[print("loaded", load_backend(p.name), "of", p.distribution, p.version) for p in list_plugins(BACKENDS)]'
	cd build/try && bin/python -W error -c 'from xqueue_core import XQueue' && bin/xqueue --help >/dev/null

.PHONY: bench
bench: $(VENV)/.dev ## Run the benchmarks (ARGS=...)
	$(RUN)/python -m benchmarks $(ARGS)

.PHONY: bench-limits
bench-limits: $(VENV)/.dev ## Measure what limits cost, with and without in turn (ARGS=...)
	$(RUN)/python -m benchmarks.limits lane $(ARGS)
	$(RUN)/python -m benchmarks.limits keys $(ARGS)

.PHONY: simulate
simulate: $(VENV)/.dev ## Simulate workers under faults (COUNT=, SEED=, REPLAY=a failing seed)
	PYTHONPATH=tests $(RUN)/python -m simulation $(if $(REPLAY),--replay $(REPLAY),\
	--count $(or $(COUNT),1000) --seed $(or $(SEED),1)) $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Kill and stop real workers under load, then check the history (MINUTES=, SEED=)
	PYTHONPATH=tests $(RUN)/python -m soak.kills --minutes $(or $(MINUTES),10) \
	--seed $(or $(SEED),1) $(ARGS)

.PHONY: sequences
sequences: $(VENV)/.dev ## Compare state machine and queues on random sequences (COUNT=, SEED=)
	PYTHONPATH=tests $(RUN)/python -m support.sequences \
	--count $(or $(COUNT),100000) --seed $(or $(SEED),1)

.PHONY: versions
versions: $(VENV)/.dev ## Print the versions of Python, backends and broker servers
	@$(RUN)/python -VV
	@$(RUN)/python -c 'import sqlite3; print("SQLite", sqlite3.sqlite_version)'
	@$(RUN)/python -c 'from xqueue_core.plugins import BACKENDS, list_plugins; \
	[print("backend", p.name, "of", p.distribution, p.version) for p in list_plugins(BACKENDS)]'
	@for server in redis-server valkey-server mosquitto; do \
	if command -v $$server >/dev/null; then \
	case $$server in mosquitto) $$server -h || true;; *) $$server --version;; esac | head -n 1; \
	else echo "$$server: not installed"; fi; done

.PHONY: clean
clean: ## Remove .venv, builds and caches
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
