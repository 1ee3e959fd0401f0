# Every habit of this repository as one word. `make` alone lists them.
# `make run` and `make test` need nothing beforehand but Python 3.11 or newer, git and a compiler.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup run check test lint format bench console docs acceptance clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

# cpu or cuda. Said once (`TORCH=cuda make setup`), it holds until said otherwise.
TORCH ?= $(or $(shell cat $(VENV)/.torch 2>/dev/null),cpu)
TORCH_VERSION := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.setup-$(TORCH)
CLIENTS := $(VENV)/.clients
DOCUMENTATION := $(VENV)/.documentation
MODULES := console/node_modules/.package-lock.json

# Files of tests that run side by side, on one core each: the tests' models are too small for several.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))

# Files keep the order of tests/support/schedule.py, in which slow ones come first.
SIDE_BY_SIDE = --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# Threads that spin for long while they wait take the cores away from the other processes of a small machine
# (cli/commands/worker.py has the figures).
export OMP_WAIT_POLICY ?= ACTIVE
export GOMP_SPINCOUNT ?= 1000

help: ## List what make can do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make .venv with everything that is needed (TORCH=cuda for NVIDIA GPUs)

run: setup ## Start emmetd: API, worker and queue in one (ARGS="--port 9000")
	@exec $(BIN)/emmetd serve $(ARGS)

# The console's own tests need Node and its packages; without Node they say so one by one.
test: setup $(CLIENTS) $(DOCUMENTATION) $(if $(shell command -v npm),$(MODULES)) ## Run the test suite (ARGS="tests/editing -k solve"; JOBS=0 in this process)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

check: lint ## Before every commit: lint, and the tests that need no whole installation
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) --quick $(ARGS)

# mypy takes one core: the client's types and the layers are checked beside it, and what is found there is told after it.
lint: setup ## Check format, lint, types and the layers of imports
	@echo "ruff format"; $(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	echo "ruff check"; $(BIN)/ruff check --quiet .
	echo "mypy --strict, import-linter"
	beside=$$(mktemp); trap 'rm -f "$$beside"' EXIT
	{ $(BIN)/mypy --python-version 3.10 --package emmetd_client && $(BIN)/lint-imports; } >"$$beside" 2>&1 & pid=$$!
	status=0
	$(BIN)/mypy || status=1
	wait $$pid || status=1
	cat "$$beside"
	exit $$status

format: setup ## Rewrite the code in the house format and repair what ruff can
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format .

bench: setup ## Measure speed and memory, with settings and hardware named (ARGS=...)
	@$(BIN)/python -m benchmarks $(ARGS)

acceptance: setup $(CLIENTS) ## Hold a real server and model against their promises (ARGS="--facts FILE --text FILE")
	@$(BIN)/python -m tests.acceptance $(ARGS)

console: $(MODULES) ## Build the console's pages from console/ (needs Node 20.19 or newer)
	@cd console && npm run --silent build

$(MODULES): console/package-lock.json
	@cd console && npm ci --silent
	touch node_modules/.package-lock.json

docs: setup $(DOCUMENTATION) ## Build the site of documentation into build/docs/html; needs no network
	@$(BIN)/python -m docs.site.build $(ARGS)

clean: ## Remove .venv, caches and build outputs; data folders stay
	@rm -rf $(VENV) build ./*.egg-info client/build client/src/*.egg-info plugins/*/build plugins/*/src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the tests talk to the server with: 60 packages that nobody needs who only runs it.
$(CLIENTS): $(STAMP)
	@echo "setup: installing the clients that the tests use"
	$(PIP) install --constraint constraints.txt --editable ./client --editable '.[clients]'
	touch $@

# Sphinx for the site, Jupyter for its notebooks: 60 packages more.
$(DOCUMENTATION): $(STAMP)
	@echo "setup: installing what builds the documentation"
	$(PIP) install --constraint constraints.txt --editable ./client --editable '.[documentation]'
	touch $@

$(STAMP): pyproject.toml client/pyproject.toml constraints.txt
	@say() { printf 'setup: %s\n' "$$*"; }
	fail() { printf 'setup: %s\n' "$$*" >&2; exit 1; }
	[[ "$(TORCH)" == cpu || "$(TORCH)" == cuda ]] || fail "TORCH=$(TORCH) is unknown; say TORCH=cpu or TORCH=cuda"
	if ! $(BIN)/python -c '' 2>/dev/null; then
	    new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
	    python=
	    for candidate in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
	        if "$$candidate" -c "$$new_enough" 2>/dev/null; then python=$$candidate; break; fi
	    done
	    [[ -n "$$python" ]] || fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python3.12 make setup"
	    "$$python" -c 'import ensurepip, venv' 2>/dev/null || fail \
	        "$$($$python -V) cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"
	    say "making $(VENV) with $$($$python -V)"
	    rm -rf $(VENV)
	    "$$python" -m venv $(VENV)
	fi
	installed=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
	if [[ "$(TORCH)" == cuda ]]; then
	    if [[ "$$installed" == *+cpu ]]; then $(PIP) uninstall --yes torch; fi
	    say "installing PyTorch $(TORCH_VERSION) with CUDA (several GB)"
	    $(PIP) install 'torch==$(TORCH_VERSION)'
	elif [[ "$$installed" != '$(TORCH_VERSION)+cpu' ]]; then
	    say "installing PyTorch $(TORCH_VERSION) for the CPU (about 200 MB)"
	    $(PIP) install --no-deps 'torch==$(TORCH_VERSION)+cpu' 2>/dev/null \
	        || $(PIP) install --no-deps --retries 1 --timeout 15 --index-url '$(TORCH_CPU_INDEX)' 'torch==$(TORCH_VERSION)' 2>/dev/null \
	        || { say "no CPU-only build to be had; installing the general one (several GB on Linux)";
	             $(PIP) install 'torch==$(TORCH_VERSION)'; }
	fi
	say "installing emmetd and what it needs"
	$(PIP) install --constraint constraints.txt --editable ./client --editable '.[dev,parquet,postgres]'
	rm -f $(VENV)/.setup-*
	echo '$(TORCH)' > $(VENV)/.torch
	touch $@
	say "done"
