# `make demo` and `make test` do everything on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint format benchmark clean

demo: $(STAMP)
	$(BIN)/fewshotsam demo --output demo-output

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(STAMP)
	$(BIN)/python Testing/Benchmark/encoder_throughput.py

# segment-anything comes first and by its hash, so that nothing but the reviewed wheel is ever taken.
$(STAMP): pyproject.toml Resources/requirements-segment-anything.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r Resources/requirements-segment-anything.txt
	$(BIN)/pip install --quiet --editable '.[engine,demo,benchmark,test]'
	touch $@

clean:
	rm -rf $(VENV) demo-output
