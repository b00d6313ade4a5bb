# Two commands for people: `make dev` and `make test`. The rest is for those who change Goalfile.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Every requirement is pinned by hash, the build's own included.
INSTALL = $(PIP) install --require-hashes --requirement $(1) \
	&& $(PIP) install --no-deps --no-build-isolation --editable . && touch $@
# More processes than this only start more Temporal servers.
PARALLEL := --numprocesses auto --maxprocesses 4

.PHONY: dev test test-slow lint fix schemas editor bench lock clean

dev: .venv/dev  ## run everything on this machine, with the example tasks
	$(BIN)/goalfile dev tasks/

test: .venv/test  ## the fast suite
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: .venv/test  ## what takes longer than a person waits
	$(BIN)/python -m pytest -m slow $(PARALLEL)

lint: .venv/test
	$(BIN)/python -m schemas.export --check
	$(BIN)/python -m gateway.openapi --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

schemas: .venv/test  ## renew the JSON Schemas and openapi.json from the types
	$(BIN)/python -m schemas.export
	$(BIN)/python -m gateway.openapi

editor: tests/editor/node_modules/.package-lock.json  ## the language server that editors use, for its tests

tests/editor/node_modules/.package-lock.json: tests/editor/package-lock.json
	npm ci --prefix tests/editor --ignore-scripts --no-audit --no-fund --loglevel error

fix: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/test  ## ratios in one run; absolute times say nothing on a shared machine
	$(BIN)/python -m tests.bench

lock: .venv/test  ## renew requirements/ from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra dev --group build --output-file requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra dev --group build --group test --output-file requirements/test.txt
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --quiet --upgrade

.venv/pyvenv.cfg:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Goalfile needs Python 3.11 or newer; name one with: make PYTHON=python3.12 dev")'
	$(PYTHON) -m venv .venv

.venv/dev: .venv/pyvenv.cfg requirements/dev.txt pyproject.toml
	$(call INSTALL,requirements/dev.txt)

.venv/test: .venv/pyvenv.cfg requirements/test.txt pyproject.toml
	$(call INSTALL,requirements/test.txt)

clean:
	rm -rf tests/editor/node_modules .venv .goalfile .pytest_cache .hypothesis .ruff_cache .import_linter_cache
