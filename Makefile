# The commands of this project, which `make help` lists. Needs Python >= 3.11 and nothing else.

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
SCALE ?= default
ONLY ?=
PARTIAL ?=
QUIET ?=
A ?=
B ?=
PAGE ?= results/comparison.html

BIN := .venv/bin
RESULTS := results/$(SCALE)
RUNTIME := .venv/.requirements
DEVELOPMENT := .venv/.requirements-dev
PEERS := .venv-bench/.requirements
AUDIT := .venv-audit/.requirements
AXE := $(if $(shell command -v npm),node_modules/axe-core/axe.min.js)

.PHONY: report plan compare test test-slow bench mutations gpu-check docs mend audit clean-results help
.DELETE_ON_ERROR:

report: $(RUNTIME) ## run a scale and write its report [SCALE=quick|full] [ONLY=a,b] [CORES=n] [PARTIAL=1] [QUIET=1]
	@$(BIN)/python scripts/run_workflow.py --scale $(SCALE) --cores $(CORES) --only "$(ONLY)" $(if $(PARTIAL),--partial) $(if $(QUIET),--quiet)

plan: $(RUNTIME) ## time, memory and disk that a scale is expected to take [SCALE=...] [ONLY=a,b] [CORES=n]
	@$(BIN)/python scripts/estimate_costs.py --scale $(SCALE) --cores $(CORES) --only "$(ONLY)"

compare: ## claims that differ between two runs A=results/x B=results/y, and a page of both; fails if any do
	@test -n "$(A)" -a -n "$(B)" || { echo "Two runs are needed: make compare A=results/default B=results/mine" >&2; exit 2; }
	@$(PYTHON) scripts/compare_runs.py "$(A)" "$(B)" --page "$(PAGE)"

test: $(DEVELOPMENT) ## style and fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	$(BIN)/snakemake --lint
	$(BIN)/pytest -n auto -m "not slow"

test-slow: $(DEVELOPMENT) $(AXE) ## slow tests: faults, clusters, the report in a browser
	$(BIN)/pytest -n 2 --dist loadfile -m slow

bench: $(PEERS) ## times against other libraries, in .venv-bench
	.venv-bench/bin/python benchmarks/run.py

mutations: $(RUNTIME) ## seed mistakes in copies of the project and see which claims notice
	$(BIN)/python scripts/measure_mutations.py --cores $(CORES)

gpu-check: ## checks and times on a GPU, by any Python with torch [PYTHON=...]
	$(PYTHON) benchmarks/gpu_check.py

docs: $(DEVELOPMENT) ## generated tables, and the documentation in site/
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/write_limit_docs.py
	$(BIN)/python scripts/write_api_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Documentation: site/index.html"

mend: $(RUNTIME) ## read all results, and make damaged files anew [SCALE=...]
	@$(BIN)/python scripts/mend_results.py --scale $(SCALE)

audit: $(AUDIT) ## what is known of the pinned packages' security; needs a network
	@$(BIN)/python scripts/audit_requirements.py

clean-results: ## delete the results of a scale, after asking [SCALE=...]
	@printf 'Delete $(RESULTS) with everything in it? [y/N] ' && read answer && [ "$$answer" = y ] \
		&& rm -rf $(RESULTS) && echo 'Deleted $(RESULTS).' || echo 'Nothing was deleted.'

help: ## this list
	@awk -F ': .*## |:.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(RUNTIME): requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python >= 3.11 is needed; $(PYTHON) is `$(PYTHON) --version`. Set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing requirements.txt into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.txt
	@echo "Installing requirements-dev.txt into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/axe-core/axe.min.js: package.json
	@echo "Installing package.json into node_modules"
	@npm install --silent --no-audit --no-fund --no-package-lock && touch $@ \
	  || echo "axe-core could not be installed: its tests will say so and fail"

$(AUDIT): $(RUNTIME) requirements-audit.txt
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@echo "Installing requirements-audit.txt into .venv-audit"
	@.venv-audit/bin/pip install --quiet --disable-pip-version-check -r requirements-audit.txt
	@touch $@

$(PEERS): requirements-bench.txt
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@echo "Installing requirements-bench.txt into .venv-bench"
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@
