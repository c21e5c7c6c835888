# Everything runs in .venv. `make install` does nothing if nothing has changed.
#
#   make demo           install mien and turn three small real films into shards
#   make test           run all tests; list skipped tests with the reason, and the twenty slowest tests
#   make test-fast      run the tests that take at most a second each, with a quarter of the random examples
#   make check          run ruff, mypy and import-linter; must pass before each commit
#   make chaos          kill runs at random instants, twenty times (MIEN_CHAOS_ROUNDS)
#   make bench          measure the pipeline and the engine; takes about 15 minutes
#   make bench-reader   compare the reader with other libraries; takes about 40 minutes
#   make weights        download the model weights
#   make clean          delete caches and build results

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install weights demo test test-fast check chaos bench bench-reader clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mien needs Python 3.11 or newer, found $$($(PYTHON) --version); choose another: make install PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# OpenCV's desktop build needs libGL, which servers and containers often lack. Use the headless build there.
	@error=$$($(BIN)/python -c 'import cv2' 2>&1) || case "$$error" in \
		*libGL*|*libgthread*|*libxcb*) \
			version=$$(sed -n 's/^opencv-python==//p' constraints.txt); \
			echo "libGL is missing: replacing opencv-python with opencv-python-headless $$version"; \
			$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
				"opencv-python-headless==$$version" && $(BIN)/python -c 'import cv2' ;; \
		*) echo "$$error" >&2; exit 1 ;; \
	esac
	@touch $@

weights: install
	$(BIN)/mien weights pull

demo: install weights
	$(BIN)/mien demo

# Allow bytecode files: without them, each program that a test starts compiles mien again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

# Most tests wait for other processes, so run one process per core. Tests of a file share its fixtures.
test: install weights
	$(PYTEST) -n logical --maxprocesses 4 --dist loadfile --durations=20

test-fast: install
	$(PYTEST) -m 'not slow and not chaos' \
		--hypothesis-profile=fast -n logical --maxprocesses 8 --dist worksteal

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: install weights
	MIEN_CHAOS_ROUNDS=$${MIEN_CHAOS_ROUNDS:-20} $(BIN)/python -m pytest -m chaos -rA tests/chaos

bench: install weights
	$(BIN)/python -m mien.cluster.benchmarks

# The other libraries need other versions of numpy and torch than mien, so they have their own environment.
PEERS := .venv-peers

$(PEERS)/.installed: pyproject.toml
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(BIN)/python -c 'import tomllib; f = open("pyproject.toml", "rb"); \
		print(*tomllib.load(f)["project"]["optional-dependencies"]["bench-reader"], sep="\n")' > $(PEERS)/packages.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(PEERS)/packages.txt
	@touch $@

bench-reader: install weights $(PEERS)/.installed
	$(BIN)/python -m mien.models.benchmarks --peers $(PEERS)/bin/python

clean:
	rm -rf build mien-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench-*.json
	find ingest pipelines models cluster tests -name __pycache__ -type d -prune -exec rm -rf {} +
