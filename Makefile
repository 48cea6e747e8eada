PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A file's tests in one process, files in the order of their names: what a file makes once is made
# once, and the federation's real processes, which often wait, run beside the other tests.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# One thread for each of the two test processes (torch takes OMP's): with two each they wait for one
# another.
export OPENBLAS_NUM_THREADS = 1
export OMP_NUM_THREADS = 1
# Tests start dozens of processes: each would compile our code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: test demo lint test-long bench clean

test: lint
	$(PYTEST) -m "not long"

demo: $(INSTALLED)
	$(BIN)/motet demo --out motet_demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-long: $(INSTALLED)
	$(PYTEST)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/combat_speed.py --repeats 5

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) motet_demo
