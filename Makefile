# Everything a newcomer needs: `make bench`, `make test`. Both run `make setup` first, which is quick when nothing changed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
UV_VERSION := 0.13.9
DEVICE ?= cpu
ifeq ($(filter cpu ascend,$(DEVICE)),)
  $(error DEVICE=$(DEVICE): must be cpu or ascend)
endif
export PYTHONUNBUFFERED = 1

.PHONY: help setup lock bench bench-engine bench-captures bench-allclose soak bench-fidelity test lint ui clean
help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) $(if $(filter ascend,$(DEVICE)),setup-ascend)  ## create .venv and install the pinned packages (DEVICE=ascend: for an NPU)

# uv is quick; pip is the fallback where only pip knows how to reach the registry (a mirror in pip.conf, say).
$(STAMP): requirements.lock Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v == (3, 11) else "plumbline needs Python 3.11, but $(PYTHON) is %d.%d: make PYTHON=/path/to/python3.11" % v)'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --require-hashes -r requirements.lock \
	  || $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) -m serving.model.kernels.build
	touch $(STAMP)

lock: setup  ## resolve pyproject.toml anew into requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --upgrade -o requirements.lock

bench: setup  ## the default experiment: start the stack, time it, check its logits, log to MLflow
	$(RUN) launch.py

bench-fidelity: setup  ## how true the load generator's figures are, beside peers where installed (ARGS="--help")
	$(RUN) -m harness.bench.fidelity $(ARGS)

# In two processes: once protobuf is in use (MLflow's), MindSpore can no longer be imported.
test: setup  ## the whole test suite
	$(RUN) -m pytest tests/unit tests/process
	$(RUN) -m pytest tests/mindspore

lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench-engine: setup  ## what the engine costs: ratios to the ideal, ladder of fakes, idle, real model (about 10 min)
	$(RUN) -m serving.bench $(ARGS)

bench-captures: setup  ## what capturing logits costs a step: no capture, one without rows, a row every 8 positions
	$(RUN) -m serving.bench.captures $(ARGS)

bench-allclose: setup  ## our comparison of logits beside the plain NumPy loop (writes 5.2 GB; smaller: ARGS="--rows 2000")
	$(RUN) -m harness.bench.allclose $(ARGS)

soak: setup  ## ten minutes of random load with random disconnects (shorter: make soak ARGS="--minutes 1")
	$(RUN) -m serving.bench.soak $(ARGS)

ui: setup  ## open the MLflow UI on the runs in outputs/
	$(VENV)/bin/mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db --host 127.0.0.1 --port 5000

clean:  ## remove the environment and caches, never outputs/
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

.PHONY: bench-tracking
bench-tracking: setup  ## what logging a run to MLflow costs: batched, and value by value
	$(RUN) -m harness.bench.tracking

# Only Python packages: driver, firmware and CANN are installed as docs/ascend_setup.md says. Not verified on device.
.PHONY: setup-ascend lock-ascend
setup-ascend: $(STAMP)
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --require-hashes -r requirements-ascend.lock \
	  || $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ascend.lock
	@$(RUN) -m serving.doctor device=ascend_910b4 model=llama2_7b || echo "what is missing: docs/ascend_setup.md"

lock-ascend: setup  ## resolve requirements-ascend.in anew, after `make lock`
	$(VENV)/bin/uv pip compile requirements-ascend.in -c requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade -o requirements-ascend.lock

# jupyter would stop at the first notebook that finds no runs of its kind.
NOTEBOOK ?= *
.PHONY: notebooks
notebooks: setup  ## run the notebooks on the runs in outputs/ into outputs/notebooks/ (one: NOTEBOOK=rate_sweep)
	@mkdir -p outputs/notebooks
	@status=0; for notebook in analysis/notebooks/$(NOTEBOOK).ipynb; do \
	  $(VENV)/bin/jupyter execute --output="$(CURDIR)/outputs/notebooks/{notebook_name}" "$$notebook" || status=1; \
	done; exit $$status
