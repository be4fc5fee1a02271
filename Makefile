# MEDAL nightly. `make run` is the whole way from a fresh clone to lists in a page; see README.md and DEVELOPERS.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SAMPLE := var/sample
CATALOG ?= $(SAMPLE)/catalog.csv
TEACHER ?= jobs/sample/teacher
# Today in the shop's time zone, unless given: make run RUN_DATE=2026-11-25
RUN_DATE ?=
PYTEST_ARGS ?=

# Airflow on SQLite, all of it inside this tree, quiet but for what `medal` says.
AIRFLOW_ENV := AIRFLOW_HOME=$(CURDIR)/var/airflow \
	AIRFLOW__CORE__DAGS_FOLDER=$(CURDIR)/dags \
	AIRFLOW__CORE__LOAD_EXAMPLES=False \
	AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
	AIRFLOW__LOGGING__LOGGING_LEVEL=WARNING \
	AIRFLOW__LOGGING__NAMESPACE_LEVELS="airflow.task.operators=INFO airflow.sdk.definitions.dag=ERROR py.warnings=ERROR"

.PHONY: help install sample run serve test lint format soak lock peers peers-embed doctor clean

help:
	@echo "make run      install, draw the sample, run a night through Airflow, print where report and page are"
	@echo "make serve    the page"
	@echo "make install  .venv from requirements/lock.txt, and the Spark jars"
	@echo "make test     lint and tests     make lint   lint only     make soak   the slow tests"
	@echo "make doctor   is all there that a night needs?"
	@echo "make lock     compile requirements/*.txt again     make clean   remove what make made, but for .venv and .jars"

# --- set-up ----------------------------------------------------------------------------------------------------

install: $(VENV)/.ready .jars/.ready

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; install Python 3.11, or: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11; give one by PYTHON=" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.uv: requirements/bootstrap.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

# bootstrap.txt again, or the sync would remove the installer itself
$(VENV)/.ready: requirements/lock.txt setup.py $(VENV)/.uv
	@echo "installing the packages of requirements/lock.txt"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/bootstrap.txt requirements/lock.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.jars/.ready: jobs/spark.py $(VENV)/.ready
	@$(call need_java)
	@echo "fetching the Spark jars"
	@$(BIN)/python -m jobs.spark
	@touch $@

define need_java
java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java; \
	command -v "$$java" >/dev/null || { echo "Java is missing; install a Java 17 runtime (Debian: openjdk-17-jre-headless) or set JAVA_HOME" >&2; exit 2; }; \
	"$$java" -version 2>&1 | grep -q 'version "17\.' || { echo "$$java is not Java 17, which Spark 4.1 is tested with here; set JAVA_HOME to one" >&2; exit 2; }
endef

# --- a night ---------------------------------------------------------------------------------------------------

sample: $(SAMPLE)/.ready

$(SAMPLE)/.ready: $(wildcard jobs/sample/*.py jobs/sample/*/*.py) | install
	@$(BIN)/medal sample --out $(SAMPLE)
	@touch $@

var/airflow/.ready: $(VENV)/.ready
	@mkdir -p $(@D)
	@echo "setting up Airflow in $(@D)"
	@{ $(AIRFLOW_ENV) $(BIN)/airflow db migrate && \
	   $(AIRFLOW_ENV) $(BIN)/airflow pools set medal_lake 1 "one writer in the lake"; } >$(@D)/setup.log 2>&1 \
	   || { tail -20 $(@D)/setup.log >&2; exit 1; }
	@touch $@

# The summary is printed below, after Airflow's lines.
run: install sample var/airflow/.ready
	@$(AIRFLOW_ENV) MEDAL_HOME=$(CURDIR) MEDAL_BIN=$(CURDIR)/$(BIN)/medal \
	   MEDAL_NIGHTLY_CATALOG=$(abspath $(CATALOG)) MEDAL_NIGHTLY_TEACHER=$(abspath $(TEACHER)) \
	   $(BIN)/airflow dags test medal_nightly --mark-success-pattern summary $(if $(RUN_DATE),--conf '{"run_date": "$(RUN_DATE)"}') 2>&1 \
	   | tee var/airflow/run.log | sed -u -E 's/ +\[airflow\.task\.operators[^]]*\].*$$//; s/^[0-9-]+T([0-9:]{8})[^ ]* \[info +\] /\1 /; s/^[0-9:]{8} ([0-9:]{8} )/\1/' \
	   || { echo "the night failed; all that was said: var/airflow/run.log" >&2; exit 1; }
	@$(BIN)/medal summary --run-id "$$(grep -oE 'run_id=[0-9]{4}-[0-9]{2}-[0-9]{2}-[a-z0-9]+-g[0-9]+' var/airflow/run.log | tail -1 | cut -d= -f2)"

serve: install
	@$(BIN)/medal serve

doctor: install
	@$(BIN)/medal doctor

# --- checks ----------------------------------------------------------------------------------------------------

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Two workers, whole files each: much of a night is one thread starting a JVM or importing torch.
test: install lint
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

soak: install
	@$(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST_ARGS)

# --- upkeep ----------------------------------------------------------------------------------------------------

# Keeps the versions that are locked; `make lock UPGRADE=--upgrade` moves them all, `--upgrade-package NAME` one.
UPGRADE ?=
COMPILE := $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11
lock: $(VENV)/.uv
	@$(COMPILE) $(UPGRADE) requirements/bootstrap.in -o requirements/bootstrap.txt
	@$(COMPILE) $(UPGRADE) setup.py --extra all --extra dev -o requirements/lock.txt
	@$(COMPILE) $(UPGRADE) requirements/peers.in -o requirements/peers.txt
	@$(COMPILE) $(UPGRADE) --no-deps requirements/peers-embed.in -o requirements/peers-embed.txt

# What `medal bench lists` and `medal bench embed` compare with, in environments of their own (requirements/peers*.in).
# The second sees the packages of $(VENV) behind its own, so that both sides run the same torch.
peers: peers-embed
	@test -x var/peers/bin/python || $(PYTHON) -m venv var/peers
	@$(UV) pip sync --quiet --python var/peers/bin/python --require-hashes requirements/peers.txt

peers-embed: $(VENV)/.ready
	@test -x var/peers-embed/bin/python || $(BIN)/python -m venv --without-pip var/peers-embed
	@echo 'import site; site.addsitedir("$(abspath $(VENV))/lib/python3.11/site-packages")' >var/peers-embed/lib/python3.11/site-packages/project.pth
	@$(UV) pip sync --quiet --python var/peers-embed/bin/python --require-hashes requirements/peers-embed.txt

clean:
	@rm -rf var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
