# `make` prints what there is. What is needed goes into .venv by itself.

PYTHON ?= python3
VENV := .venv
WORKERS ?= 2
BIN := $(VENV)/bin
DEMO := demo
USER_READY := $(VENV)/.installed
READY := $(VENV)/.ready
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./runtime

.PHONY: help demo studio test test-slow check docs docs-serve bench-cam clean
.DEFAULT_GOAL := help

help:
	@echo "make demo        a synthetic set: first masks, a training, masks, how good they are; some minutes"
	@echo "make studio      the studio on the demo's run, in a browser"
	@echo "make test        the tests but the slow ones"
	@echo "make test-slow   the slow ones"
	@echo "make check       linters and types"
	@echo "make docs        the documentation as web pages in site/"
	@echo "make docs-serve  the same, with its search, on a local address"
	@echo "make clean       removes .venv, demo/ and site/"

$(USER_READY): pyproject.toml runtime/pyproject.toml constraints.txt
	@echo "installing ltcam into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e '.[weights]'
	@touch $@

$(READY): pyproject.toml runtime/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[weights,dev]'
	touch $(READY) $(USER_READY)

# Each step is skipped where its result is there already: a stopped demo goes on.

demo: $(DEMO)/metrics/metrics.json $(DEMO)/first/predictions.json
	@echo
	@echo "Look at:"
	@echo "  file://$(CURDIR)/$(DEMO)/first/report.html     first masks, without training a network"
	@echo "  file://$(CURDIR)/$(DEMO)/results/report.html   masks and verdicts of the trained run"
	@echo "  file://$(CURDIR)/$(DEMO)/metrics/report.html   how good they are: missed, false alarms, exact masks"
	@echo
	@echo "Now yours, one folder of good parts and one of defects:"
	@echo "  source $(BIN)/activate; ltcam data check PHOTOS; ltcam quick PHOTOS"

$(DEMO)/data/manifest.csv: | $(USER_READY)
	@echo "1 of 6: drawing ceramic tiles with defects"
	@$(BIN)/ltcam data synth $(DEMO)/data --surfaces ceramic --images 120 --overwrite

$(DEMO)/quick/run.json: $(DEMO)/data/manifest.csv
	@echo "2 of 6: a quick run from the labels"
	@$(BIN)/ltcam quick $(DEMO)/data --out $(DEMO)/quick --overwrite

$(DEMO)/first/predictions.json: $(DEMO)/quick/run.json
	@echo "3 of 6: inspecting all tiles with it"
	@$(BIN)/ltcam predict $(DEMO)/quick $(DEMO)/data/manifest.csv --out $(DEMO)/first --overwrite

$(DEMO)/run/run.json: $(DEMO)/data/manifest.csv $(DEMO)/first/predictions.json
	@echo "4 of 6: training a classifier on the labels"
	@$(BIN)/ltcam train $(DEMO)/data --out $(DEMO)/run --epochs 12 --resume

$(DEMO)/results/predictions.json: $(DEMO)/run/run.json
	@echo "5 of 6: inspecting all tiles with it"
	@$(BIN)/ltcam predict $(DEMO)/run $(DEMO)/data/manifest.csv --out $(DEMO)/results --overwrite

$(DEMO)/metrics/metrics.json: $(DEMO)/results/predictions.json
	@echo "6 of 6: measuring, on the tiles it was not trained with"
	@$(BIN)/ltcam evaluate $(DEMO)/run $(DEMO)/data --out $(DEMO)/metrics --overwrite

# The studio on the demo's run, with some of its images in the history. Ctrl-C ends it.
studio: $(READY)
	test -e $(DEMO)/run/run.json || $(MAKE) demo
	$(BIN)/ltcam serve $(DEMO)/run --state $(DEMO)/studio --examples $(DEMO)/data --data-root $(DEMO)

# Two processes, each with a thread: faster than one with two. A file's tests stay together, so that it makes its runs
# once.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile

check: $(READY)
	$(BIN)/ruff check src runtime/src tests runtime/tests benchmarks docs
	$(BIN)/ruff format --check src runtime/src tests runtime/tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-cam: $(READY)
	$(BIN)/python benchmarks/cam_speed.py

docs: $(READY)
	$(BIN)/mkdocs build --strict

docs-serve: $(READY)
	$(BIN)/mkdocs serve

clean:
	rm -rf $(VENV) $(DEMO) site
