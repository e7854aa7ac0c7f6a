# Two commands: `make demo` (the main job on a synthetic set) and `make test` (the tests but the slow ones).
# Each makes .venv by itself; with uv at hand that goes faster.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
READY := $(VENV)/.ready

.PHONY: demo test test-slow studio check docs bench-cam clean

$(READY): pyproject.toml runtime/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./runtime -e '.[weights,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/ltcam data synth $(DEMO)/data --overwrite
	$(BIN)/ltcam train $(DEMO)/data --out $(DEMO)/run --overwrite
	$(BIN)/ltcam predict $(DEMO)/run $(DEMO)/data/manifest.csv --out $(DEMO)/results --overwrite
	$(BIN)/ltcam evaluate $(DEMO)/run $(DEMO)/data --out $(DEMO)/metrics --overwrite
	@echo
	@echo "Look at:"
	@echo "  $(DEMO)/metrics/report.html        how good the masks are, against the exact ones"
	@echo "  $(DEMO)/run/report.html            how the classifier was trained"
	@echo "  $(DEMO)/results/overlays/          verdict and mask on every image"
	@echo "  $(DEMO)/results/predictions.csv    every verdict, score and largest region"

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check src runtime/src tests runtime/tests benchmarks docs
	$(BIN)/ruff format --check src runtime/src tests runtime/tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-cam: $(READY)
	$(BIN)/python benchmarks/cam_speed.py

docs: $(READY)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(DEMO) site
