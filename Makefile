PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One thread of linear algebra for each of the two test processes.
export OPENBLAS_NUM_THREADS = 1

.PHONY: test demo lint test-long bench clean

test: lint
	$(BIN)/python -m pytest -n 2 -m "not long" --ignore=tests/deployment
	$(BIN)/python -m pytest -m "not long" tests/deployment  # real processes, two cores of their own

demo: $(INSTALLED)
	$(BIN)/motet demo --out motet_demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-long: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --ignore=tests/deployment
	$(BIN)/python -m pytest tests/deployment

bench: $(INSTALLED)
	$(BIN)/python benchmarks/combat_speed.py --repeats 5

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) motet_demo
