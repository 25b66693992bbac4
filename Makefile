# Each target makes the virtual environment itself; nothing but Python 3.11 or newer, make and a package index is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: demo test dev check bench lock clean
.DEFAULT_GOAL := demo

demo: $(INSTALLED)  ## Run the shipped use case on simulated payments, from raw data to champion and predictions.
	$(BIN)/ml-platform demo

# one thread each: three processes that share two cores take a tenth longer with two
test: $(INSTALLED)  ## Run the whole test suite.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

dev: $(INSTALLED)  ## Open the Dagster UI, with the daemon, on http://127.0.0.1:3000.
	$(BIN)/ml-platform dev

check: $(INSTALLED)  ## Run every static check.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/dg check yaml
	$(BIN)/dg check defs
	$(BIN)/dagster definitions validate -w workspace.yaml

bench: $(INSTALLED)  ## Measure the platform next to a bare script and to Dagster as taught; see benchmarks/README.md.
	$(BIN)/python -m benchmarks.run $(BENCH)

lock: $(INSTALLED)  ## Pin the newest versions that pyproject.toml allows.
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --upgrade --group dev pyproject.toml --output-file requirements.lock

clean:  ## Remove the virtual environment and all that runs have stored.
	rm -rf $(VENV) .ml_platform

UV = $(shell command -v uv || echo $(BIN)/uv)

$(INSTALLED): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null || $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-uv.lock
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@
