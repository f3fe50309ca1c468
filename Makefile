# Two commands do all set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo check test test-training lint clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# ruff, mypy and the unit tests: under a minute on two cores.
check: $(STAMP)
	$(BIN)/python tests/run.py check

# What was trained, and what it was trained on.
test-training: $(STAMP)
	$(BIN)/python tests/run.py training

# Everything, as many processes at a time as there are cores.
test: $(STAMP)
	$(BIN)/python tests/run.py check training rest

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
