# sagespark: `make demo` and `make test` set everything up; nothing else is done by hand.
#
#   make demo         run the quickstart on the embedded service
#   make test         lint, types, import contracts, tests in both environments (SPARK=4 or SPARK=3.5: that one only)
#   make test-slow    the tests that take minutes
#   make lint         ruff, mypy --strict, import contracts
#   make bench        the benchmarks, medians of paired runs
#   make bench-tuning  the tuner against other libraries' kept runs; at most 60 minutes, goes on where it was stopped
#   make bench-tuning-jobs  model tuning over XGBoost against its defaults, and what early stopping saves
#   make emr-bundle   the wheel and the jobs archive that emr/bootstrap.sh takes
#   make notebooks    run the notebooks and keep their outputs
#   make clean        remove environments and caches

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: demo test test-4 test-3.5 test-slow lint bench bench-tuning bench-tuning-jobs emr-bundle notebooks clean java

SPARK ?= all
PYTEST_ARGS ?=
# Test processes at once; a file's tests stay in one, since they share a Spark session and a service.
WORKERS ?= 2
VENV := .venv
VENV35 := .venv-spark35
PIP_FLAGS := --quiet --disable-pip-version-check --no-input

# $(1): environment, $(2): requirements. The stamp is newer than the project file exactly when the environment fits it.
define environment
	@python=$$(.ci/find-python) || exit 1; \
	if [ ! -x $(1)/bin/python ]; then echo "making $(1) with $$python"; "$$python" -m venv $(1) || exit 1; fi; \
	echo "installing into $(1): $(2) (a few minutes the first time)"; \
	$(1)/bin/python -m pip install $(PIP_FLAGS) $(2) && touch $@
endef

$(VENV)/.demo: pyproject.toml
	$(call environment,$(VENV),-e '.[spark$(COMMA)local]' 'pyspark>=4$(COMMA)<5')

$(VENV)/.dev: pyproject.toml | java
	$(call environment,$(VENV),-e '.[dev]' 'pyspark>=4$(COMMA)<5')
	@$(VENV)/bin/python -m pip install $(PIP_FLAGS) --no-deps $(IMAGE_TABLES) && touch $@ $(VENV)/.demo

$(VENV35)/.dev: pyproject.toml | java
	$(call environment,$(VENV35),-e '.[dev]' 'pyspark>=3.5$(COMMA)<3.6')

COMMA := ,
# AWS's own table of image accounts, the oracle of ours. Read as data: its dependencies are not wanted.
IMAGE_TABLES := sagemaker-core==2.27.0

java:
	@.ci/check-java

demo: java $(VENV)/.demo
	@$(VENV)/bin/python jobs/quickstart.py --service embedded

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

ifeq ($(SPARK),all)
test: lint test-4 test-3.5
else
test: test-$(SPARK)
endif

test-4: java $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-3.5: java $(VENV35)/.dev
	$(VENV35)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "spark and not slow" $(PYTEST_ARGS)

test-slow: java $(VENV)/.dev
	$(VENV)/bin/python -m pytest -m slow $(PYTEST_ARGS)

bench: java $(VENV)/.dev
	@failed=0; for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python $$script || failed=1; done; exit $$failed

# The results belong to the search's code: other code, another file.
TUNING = benchmarks/results/tuning-$$(cat sagespark/bayesopt/*.py | sha256sum | cut -c1-12)
TUNING_RUN = $(VENV)/bin/python benchmarks/tuning/run.py --out $(TUNING).jsonl --methods sagespark
TUNING_COMPARE = $(VENV)/bin/python benchmarks/tuning/compare.py $(TUNING).jsonl benchmarks/tuning/baselines/*.jsonl

bench-tuning: $(VENV)/.dev
	@mkdir -p benchmarks/results
	@$(TUNING_RUN) --problems listed --seeds 20 --minutes 14
	@$(TUNING_RUN) --problems listed --seeds 20 --parallel 4 --minutes 14
	@$(TUNING_RUN) --problems real --seeds 5 --minutes 6
	@$(TUNING_RUN) --problems others --seeds 4 --minutes 8
	@$(TUNING_COMPARE) --problems listed real
	@$(TUNING_COMPARE) --problems others
	@$(VENV)/bin/python benchmarks/tuning/warm.py --seeds 20 --minutes 14 --out $(TUNING)-warm.jsonl
	@$(VENV)/bin/python benchmarks/tuning/calibration.py
	@$(VENV)/bin/python benchmarks/tuning/speed.py

bench-tuning-jobs: java $(VENV)/.dev
	$(VENV)/bin/python benchmarks/tuning_jobs/run.py

emr-bundle: $(VENV)/.dev
	@rm -rf dist && mkdir -p dist
	@$(VENV)/bin/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@$(VENV)/bin/python -c "import shutil; shutil.make_archive('dist/jobs', 'zip', '.', 'jobs')"
	@ls -l dist

notebooks: java $(VENV)/.dev
	@$(VENV)/bin/python notebooks/run.py --write

clean:
	rm -rf .venv .venv-spark35 dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
