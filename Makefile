# Everything runs from one virtual environment, made on first use: `make demo` and `make test` need only Python 3.11+, gcc and make.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow lint format bench docs wheel clean

demo: $(INSTALLED)  ## the paper's experiment on the phantom, through nnU-Net, and its report
	$(BIN)/surfloss info
	$(BIN)/surfloss reproduce --preset tiny --out $(DEMO)

test: $(INSTALLED)  ## all tests but the slow ones
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## the slow ones: trainings on real volumes
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## the published comparison, its picture, and the tables of README and docs
	$(BIN)/surfloss bench --json benchmarks/results --plot benchmarks/results
	$(BIN)/python benchmarks/tables.py

docs: $(INSTALLED)  ## the site, into site/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	$(BIN)/mkdocs build --strict

wheel: $(INSTALLED)
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) $(DEMO) build dist site

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
