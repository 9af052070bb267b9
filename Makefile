# `make demo` and `make test` do everything on a machine with Python 3.11 or later: each makes .venv and
# installs into it what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What training is tested with; any release since 2.6 does.
TORCH ?= torch==2.13.0
SECONDS ?= 600
FORMATS ?= tflite onnx

.PHONY: demo test lint types contracts tests portable emulated golden bench fuzz clean

demo: $(VENV)/.demo
	$(BIN)/npusim run digits --device wear --data digits

test: lint types contracts tests portable emulated golden

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/basedpyright

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

tests: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadscope

# What computes values, once more on the loops that any processor has.
portable: $(VENV)/.dev
	NPUSIM_KERNELS=portable $(BIN)/python -m pytest -n auto --dist loadscope tests/datapath tests/models

# The loops for processors that this one may not be, their instructions written out.
emulated: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m pytest -p emulated_units tests/datapath/test_packed.py

# The hand-worked cases once more without compilation: the same source must give the same integers.
golden: $(VENV)/.dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m golden

bench: $(VENV)/.dev
	$(BIN)/python tests/bench/bench_run.py
	$(BIN)/python tests/bench/bench_kernels.py
	$(BIN)/python tests/bench/bench_sets.py
	$(BIN)/python tests/bench/bench_scalesim.py
	$(BIN)/python tests/bench/bench_timing.py
	$(BIN)/python tests/bench/bench_mapper.py

# Changed model files for SECONDS per importer; what breaks a promise is kept below build/fuzz.
fuzz: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) --folder build/fuzz $(FORMATS)

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
