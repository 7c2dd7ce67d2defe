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

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) --editable '.[all,docs]'
	@touch $(VENV)/.core $(VENV)/.all $@

# The products that docs/coming-from tells of, apart: they want other versions of some packages.
$(VENV)/.theirs: docs/coming-from/requirements.txt | $(VENV)/.made
	$(RUN)/python -m venv $(VENV)/theirs
	$(VENV)/theirs/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

.PHONY: setup
setup: $(VENV)/.dev $(VENV)/.theirs ## Install XQueue, all extras and the tools into .venv
	@echo "ready: $(RUN)/xqueue"

.PHONY: demo
# By the environment, so that neither make nor the shell reads anything into a name.
demo: export DEMO_DIR = $(value DIR)
demo: export DEMO_URL = $(value URL)
demo: $(VENV)/$(if $(filter-out sqlite:% memory:%,$(URL)),.all,.core) ## Show XQueue at work, in a minute (DIR=folder, URL=broker)
	@exec $(RUN)/python examples/demo.py $${DEMO_DIR:+--dir="$$DEMO_DIR"} $${DEMO_URL:+--url="$$DEMO_URL"}

.PHONY: test
test: $(VENV)/.dev $(VENV)/.theirs ## Run all tests on every backend, services included (ARGS=...)
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

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation's site into build/site, and check every link
	PYTHONPATH=tests $(RUN)/python -m website

.PHONY: reference
reference: $(VENV)/.dev ## Write docs/reference from the code
	PYTHONPATH=tests $(RUN)/python -m website.reference

.PHONY: package
package: $(VENV)/.dev ## Build sdist and wheel; try the wheel in an environment of its own
	rm -rf build/wheel build/try
	$(RUN)/python -m build --outdir build/wheel .
	$(RUN)/python -m venv build/try
	build/try/bin/python -m pip --disable-pip-version-check install --quiet \
	--constraint constraints.txt "$$(echo build/wheel/*.whl)[redis]"
	cd build/try && bin/python -W error -c 'from xqueue_core.plugins import BACKENDS, list_plugins, load_backend; \
	[print("loaded", load_backend(p.name), "of", p.distribution, p.version) for p in list_plugins(BACKENDS)]'
	cd build/try && bin/python -W error -c 'from xqueue_core import XQueue' && bin/xqueue --help >/dev/null

.PHONY: first-minute
first-minute: $(VENV)/.dev ## From an empty folder to the first result, as README.md says (SECONDS_ALLOWED=60)
	$(RUN)/python tests/e2e/first_minute.py $(SECONDS_ALLOWED)

.PHONY: bench
bench: $(VENV)/.dev ## Measure SQLite and Redis, each beside its raw client (ARGS=...)
	$(RUN)/python -m benchmarks $(ARGS)
	PYTHONPATH=tests $(RUN)/python -m benchmarks.on_redis --server redis7 --persistence none $(ARGS)

bench-limits: $(VENV)/.dev ## Measure what limits cost, with and without in turn (ARGS=...)
	$(RUN)/python -m benchmarks.limits lane $(ARGS)
	$(RUN)/python -m benchmarks.limits keys $(ARGS)

.PHONY: bench-redis
bench-redis: $(VENV)/.dev ## Measure Redis alone, with and without persistence (ARGS=...)
	PYTHONPATH=tests $(RUN)/python -m benchmarks.on_redis --server redis7 $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.dev ## Measure other task queues on the same Redis: an hour or two (ARGS=NAME ...)
	$(RUN)/python -m benchmarks.peers $(ARGS)

.PHONY: simulate
simulate: $(VENV)/.dev ## Simulate workers under faults (COUNT=, SEED=, REPLAY=a failing seed)
	PYTHONPATH=tests $(RUN)/python -m simulation $(if $(REPLAY),--replay $(REPLAY),\
	--count $(or $(COUNT),1000) --seed $(or $(SEED),1)) $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Kill and stop workers, and a broker, under load; check the history (MINUTES=, SEED=, BROKER=redis)
	PYTHONPATH=tests $(RUN)/python -m soak.kills --minutes $(or $(MINUTES),10) \
	--seed $(or $(SEED),1) $(addprefix --broker ,$(BROKER)) $(ARGS)

.PHONY: sequences
sequences: $(VENV)/.dev ## Compare state machine and queues on random sequences (COUNT=, SEED=, KIND=)
	PYTHONPATH=tests $(RUN)/python -m support.sequences \
	--count $(or $(COUNT),100000) --seed $(or $(SEED),1) $(addprefix --kind ,$(KIND))

.PHONY: versions
versions: $(VENV)/.dev ## Print the versions of Python, backends and broker servers
	@$(RUN)/python -VV
	@$(RUN)/python -c 'import sqlite3; print("SQLite", sqlite3.sqlite_version)'
	@$(RUN)/python -c 'from xqueue_core.plugins import BACKENDS, list_plugins; \
	[print("backend", p.name, "of", p.distribution, p.version) for p in list_plugins(BACKENDS)]'
	@PYTHONPATH=tests $(RUN)/python -m services

.PHONY: clean
clean: ## Remove .venv, builds and caches
	rm -rf $(VENV) build dist .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
