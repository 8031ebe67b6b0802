# Everything sets itself up: only python3 (3.11+), make and a package registry are needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help demo demo-review demo-sync test lint format bench bench-reviews chaos serve wheel clean
.DEFAULT_GOAL := help

help:
	@echo "make demo            documents in, answers with citations out (KEEP=1 leaves it open)"
	@echo "make demo-review     pictures made, people decide in the browser (AUTO=1: a headless browser; KEEP=1)"
	@echo "make demo-sync       a night of 40 pipelines, three that fail and one that hangs (KEEP=1 leaves it open)"
	@echo "make test            builds the wheel and runs the tests against it (ARGS=... for pytest)"
	@echo "make lint            ruff, mypy --strict, import contracts"
	@echo "make bench           what the ledger costs, as ratios; what 5,000 pipelines and 100,000 runs cost"
	@echo "make bench-reviews   RUNS=100 SCRIPTS=10000: many decisions waited for without a process"
	@echo "make chaos           KILLS=300 SEED=1 DB=sqlite|postgres RUNNERS=1|2 ENGINE=plait|naive-retry|... CASE=n"
	@echo "make serve           serves the deployments to a Prefect server (PREFECT_API_URL)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Plait needs Python 3.11 or newer; say which with make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check -e ".[sandbox,dev]"
	@touch $@

demo: $(READY)
	@KEEP=$(KEEP) $(BIN)/python -m deployments.demo

demo-review: $(READY)
	@KEEP=$(KEEP) AUTO=$(AUTO) $(BIN)/python -m deployments.demo_review

demo-sync: $(READY)
	@KEEP=$(KEEP) $(BIN)/python -m deployments.demo_sync

# The tests meet what users install: the wheel, not the source tree.
wheel: $(READY)
	@rm -rf build/wheel dist
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m build --wheel --no-isolation --outdir dist . > /dev/null
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/wheel dist/*.whl

test: wheel
	@PYTHONPATH=$(CURDIR)/build/wheel $(BIN)/pytest -n 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

bench: $(READY)
	@$(BIN)/python -m benchmarks.claims
	@$(BIN)/python -m benchmarks.sync

RUNS    ?= 100
SCRIPTS ?= 10000
bench-reviews: $(READY)
	@$(BIN)/python -m benchmarks.reviews --runs $(RUNS) --scripts $(SCRIPTS)

KILLS   ?= 300
SEED    ?= 1
DB      ?= sqlite
RUNNERS ?= 2
ENGINE  ?= plait
chaos: $(READY)
	@$(BIN)/python -m benchmarks.chaos --kills $(KILLS) --seed $(SEED) --db $(DB) --runners $(RUNNERS) \
	  --engine $(ENGINE) $(if $(CASE),--case $(CASE))

serve: $(READY)
	@$(BIN)/python -m deployments.serve

clean:
	@rm -rf $(VENV) build dist
