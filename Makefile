# Everything runs in .venv. `make install` does nothing where nothing has changed.
#
#   make demo        from a fresh checkout to shards on the disk
#   make test        the whole suite; the reason of each skipped test is listed
#   make test-fast   what needs a second each at most, on all cores, with a quarter of hypothesis' examples
#   make check       what must be clean before a commit

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
		{ echo "mien needs Python 3.11 or newer, got $$($(PYTHON) --version); name one: make install PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Servers and containers often have no libGL, which OpenCV's desktop build wants: the headless one replaces it.
	@error=$$($(BIN)/python -c 'import cv2' 2>&1) || case "$$error" in \
		*libGL*|*libgthread*|*libxcb*) \
			version=$$(sed -n 's/^opencv-python==//p' constraints.txt); \
			echo "no libGL here: installing opencv-python-headless $$version over opencv-python"; \
			$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
				"opencv-python-headless==$$version" && $(BIN)/python -c 'import cv2' ;; \
		*) echo "$$error" >&2; exit 1 ;; \
	esac
	@touch $@

weights: install
	$(BIN)/mien weights pull

demo: install weights
	$(BIN)/mien demo

# Without byte code every one of the programs that the tests start would compile mien anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

# As many processes as cores: most tests wait for others. A file's tests stay together, for its fixtures.
test: install weights
	$(PYTEST) -n logical --maxprocesses 4 --dist loadfile

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

# The peers want other versions of numpy and torch than mien: they have an environment of their own.
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
