# make demo   learn to read speech, then transcribe one clip      make test   every check
# Both make a virtual environment first; VENV=/some/where puts it elsewhere.
VENV ?= .venv
PYTHON ?= python3
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Two test processes of one thread each keep two cores busy without fighting over them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.DELETE_ON_ERROR:
.PHONY: demo test test-unit test-slow lint clean

demo: $(STAMP)
	$(BIN)/python train.py hparams/mini.yaml $(ARGS)
	@clip=$$(find data/mini/test-mini -name '*.flac' | sort | head -n 1); id=$$(basename $$clip .flac); \
	echo "reference  $$(grep -h "^$$id " $$(dirname $$clip)/*.trans.txt)"; \
	echo "transcript $$id $$($(BIN)/hyperconformer transcribe --model $$(ls -td results/mini/*/model | head -n 1) $$clip)"

test: lint
	$(PYTEST)

test-unit: $(STAMP)
	$(PYTEST) tests/unit hyperconformer

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The build tools are pinned as well, so the package is built with them and not in pip's own sandbox.
$(STAMP): constraints.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "$(PYTHON) is not Python 3.11 or 3.12: name one that is, for instance make PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt pip setuptools wheel
	$(PIP) install -c constraints.txt --no-build-isolation -e ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
