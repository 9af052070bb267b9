# `make demo` and `make test` do everything on a machine with Python 3.11 or later: each makes .venv and
# installs into it what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types contracts tests golden fuzz bench clean

demo: $(VENV)/.demo
	$(BIN)/npusim run digits --device wear --data digits

test: lint types contracts tests golden

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/basedpyright

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

tests: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal

# The hand-worked cases once more without compilation: the same source must give the same integers.
golden: $(VENV)/.dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m golden

# Both importers, coverage-guided, SECONDS each; what breaks them is left in build/fuzz.
SECONDS ?= 600
fuzz: $(VENV)/.dev
	mkdir -p build/fuzz
	for format in tflite onnx; do \
	    $(BIN)/python tests/fuzz/harness.py $$format build/fuzz/$$format.json -max_total_time=$(SECONDS) \
	        -artifact_prefix=build/fuzz/$$format- || exit 1; \
	done

bench: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_run.py

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
