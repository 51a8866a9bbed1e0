# The commands of this project; README.md explains them. Needs Python >= 3.11 and nothing else.
#   make report [SCALE=quick|full] [ONLY=a,b] [CORES=n] [PARTIAL=1]
#   make compare A=results/x B=results/y: claims that changed; fails if any did
#   make test, make test-slow, make bench, make docs, make clean-results [SCALE=...]
#   make mutations: seed mistakes in copies of the project and see which claims notice
#   make mend [SCALE=...]: reads all results, and makes damaged files anew
#   make audit: what is known of the pinned packages' security; needs a network
#   make gpu-check [PYTHON=...]: checks and times on a GPU, by any Python with torch, without .venv

PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
SCALE ?= default
ONLY ?=
PARTIAL ?=
A ?=
B ?=

BIN := .venv/bin
RESULTS := results/$(SCALE)
RUNTIME := .venv/.requirements
DEVELOPMENT := .venv/.requirements-dev
PEERS := .venv-bench/.requirements
AUDIT := .venv-audit/.requirements

.PHONY: report compare test test-slow bench mutations gpu-check docs clean-results mend audit
.DELETE_ON_ERROR:

report: $(RUNTIME)
	@$(BIN)/python scripts/run_workflow.py --scale $(SCALE) --cores $(CORES) --only "$(ONLY)" $(if $(PARTIAL),--partial)

compare:
	@test -n "$(A)" -a -n "$(B)" || { echo "Two runs are needed: make compare A=results/default B=results/mine" >&2; exit 2; }
	@$(PYTHON) scripts/compare_runs.py "$(A)" "$(B)"

test: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	$(BIN)/snakemake --lint
	$(BIN)/pytest -n auto -m "not slow"

test-slow: $(DEVELOPMENT)
	$(BIN)/pytest -m slow

bench: $(PEERS)
	.venv-bench/bin/python benchmarks/run.py

mutations: $(RUNTIME)
	$(BIN)/python scripts/measure_mutations.py --cores $(CORES)

gpu-check:
	$(PYTHON) benchmarks/gpu_check.py

docs: $(RUNTIME)
	$(BIN)/python scripts/write_docs.py
	$(BIN)/python scripts/write_limit_docs.py

mend: $(RUNTIME)
	@$(BIN)/python scripts/mend_results.py --scale $(SCALE)

audit: $(AUDIT)
	@$(BIN)/python scripts/audit_requirements.py

clean-results:
	@printf 'Delete $(RESULTS) with everything in it? [y/N] ' && read answer && [ "$$answer" = y ] \
		&& rm -rf $(RESULTS) && echo 'Deleted $(RESULTS).' || echo 'Nothing was deleted.'

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
