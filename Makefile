# Two targets set everything up: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := True
export GX_ANALYTICS_ENABLED := False

.DEFAULT_GOAL := help
.PHONY: help install run up down validate-deployment dev api ui test test-browser test-servers test-spark test-fast lint clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make .venv and install everything with the pinned constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "medassets needs Python 3.11; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar on -c constraints.txt -e '.[platform,cluster,native,dev]'
	@touch $@

run: install ## materialize the graph, build the bento, ask it for one example case
	$(BIN)/medassets run

dev: install ## Dagster UI, API and page together; stop all with Ctrl-C
	$(BIN)/medassets dev

api: install ## the API alone, over the latest bundle
	$(BIN)/medassets serve

ui: install ## the clinicians' page, over a running API
	$(BIN)/medassets ui

PROFILE ?= small
up: install ## the whole stack on loopback without containers (PROFILE=small or full); it restarts itself
	$(BIN)/medassets up --profile $(PROFILE)

down: install ## stop what `make up` started
	$(BIN)/medassets down

validate-deployment: install ## lint and render everything under deployment/ with the tools at hand; says which are not
	$(BIN)/python deployment/validate.py

# A file stays with one process, for what it sets up once; each process counts with one thread. The order is that of
# the folders, in which the longest files are not the last.
WORKERS ?= 2
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test: install ## every test that needs nothing but this environment (WORKERS=2 side by side)
	$(SIDE_BY_SIDE) -m 'not browser and not servers and not spark'

test-browser: install ## the page in real Chromium (Debian's package chromium)
	$(BIN)/python -m pytest -m browser

test-servers: install ## against real servers (Debian's postgresql redis-server mosquitto prometheus haproxy)
	$(BIN)/python -m pytest -m servers

test-spark: install ## the Spark path (Java, and the extra spark)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[spark]'
	$(BIN)/python -m pytest -m spark

test-fast: install ## without the tests that need a server or a built bundle
	$(SIDE_BY_SIDE) -m 'not integration and not browser and not servers and not spark'

lint: install ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove what this installation made (var/), keep .venv
	rm -rf var
