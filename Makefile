# Two commands do all set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Asked before anything is made: a .venv of another Python would be used again by the next make.
VERSION := import sys; v = "%d.%d" % sys.version_info[:2]; \
	v in ("3.11", "3.12") or sys.exit("Python " + v + ": needs 3.11 or 3.12; run: make PYTHON=python3.12 demo")

.PHONY: demo check test test-training embed lint clean

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

# All of embed: C++, ARM64 under qemu, Android, C#, Unreal, Blender, the browser. Says which of Debian's packages are missing.
embed: $(STAMP)
	$(BIN)/python embed/run.py

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || { $(PYTHON) -c '$(VERSION)' && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c '$(VERSION)' || { echo "$(VENV) is of that Python: remove it first"; exit 1; }
	@echo "installs pinned packages into $(VENV): several GB of downloads, quiet until it ends"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
