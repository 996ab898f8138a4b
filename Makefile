# `make demo` and `make test` do everything on a fresh machine that has Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Slicer has Python 3.12 and no torch: if Python 3.12 is installed, panel and scene are tested in such an environment.
SLICER_PYTHON ?= $(firstword $(shell for each in python3.12 $(HOME)/.pyenv/versions/3.12*/bin/python3.12 $(PYTHON); do \
	$$each -c '' 2>/dev/null && command -v $$each; done))
SLICER_VENV   ?= .venv-slicer
SLICER_STAMP  := $(SLICER_VENV)/.installed

# Number of parallel test processes, more than two cores could keep busy, as tests often wait; and for the browser app.
PROCESSES     ?= 4
WEB_PROCESSES ?= 2

# trame-slicer pins its own slicer-core and vtk. No torch here: the background process uses that of VENV.
WEB_VENV   ?= .venv-web
WEB_STAMP  := $(WEB_VENV)/.installed

# Tests start many processes: if bytecode is not stored, as in containers, each process compiles everything again.
export PYTHONDONTWRITEBYTECODE =
export FEWSHOTSAM_TEST_SLICER = $(abspath $(SLICER_VENV))/bin/python

.PHONY: demo test together lint faults format benchmark web web-test clean

demo: $(STAMP)
	$(BIN)/fewshotsam demo --output demo-output

# Lint takes a minute of one processor, so it runs in parallel with the tests; timing tests run last, on their own.
test: $(STAMP) $(SLICER_STAMP)
	$(MAKE) -j2 lint together
	$(BIN)/python -m pytest -m quiet $$(grep -rl mark.quiet --include='test_*.py' Testing)

# Single-threaded processes; the tests of a file stay together, since many share a background process.
together: $(STAMP) $(SLICER_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not quiet" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	nice $(BIN)/mypy

# Kills, disk errors and mutated files in great numbers; takes hours. Run it as an unprivileged user.
faults: $(STAMP)
	PYTHONPATH=Testing:Testing/Python OMP_NUM_THREADS=1 $(BIN)/python -m Faults $(KILLS) $(MUTATIONS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(STAMP)
	$(BIN)/python Testing/Benchmark/encoder_throughput.py

# Compiling everything installed would take a minute of processor time: imports compile the little that they need.
PIP_INSTALL := pip install --quiet --no-compile

# segment-anything comes first and by its hash, so that nothing but the reviewed wheel is ever installed.
$(STAMP): pyproject.toml Resources/requirements-segment-anything.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) --require-hashes --no-deps -r Resources/requirements-segment-anything.txt
	$(BIN)/$(PIP_INSTALL) --editable '.[engine,demo,benchmark,test]'
	touch $@

$(SLICER_STAMP): pyproject.toml
	$(SLICER_PYTHON) -m venv $(SLICER_VENV)
	$(SLICER_VENV)/bin/$(PIP_INSTALL) --editable '.[test-slicer]'
	touch $@

web: $(STAMP) $(WEB_STAMP)
	@echo "Start it: $(WEB_VENV)/bin/fewshotsam web VOLUME"

# Each test has its own server and browser window, so several can run in parallel.
web-test: web
	OMP_NUM_THREADS=1 FEWSHOTSAM_PYTHON=$(abspath $(BIN)/python) \
		$(WEB_VENV)/bin/python -m pytest -m "not quiet" -n $(WEB_PROCESSES) --dist worksteal Testing/Python/web
	FEWSHOTSAM_PYTHON=$(abspath $(BIN)/python) $(WEB_VENV)/bin/python -m pytest -m quiet Testing/Python/web

$(WEB_STAMP): pyproject.toml
	$(PYTHON) -m venv $(WEB_VENV)
	$(WEB_VENV)/bin/$(PIP_INSTALL) --editable '.[web,test-web]'
	touch $@

clean:
	rm -rf $(VENV) $(SLICER_VENV) $(WEB_VENV) demo-output
