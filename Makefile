# Copyright (c) StereoPose-MM contributors. SPDX-License-Identifier: Apache-2.0
#
#   make setup   make or refresh the environment in $(VENV)
#   make demo    lift the shipped video to 3D: page, video, models, JSON, NPZ
#   make test    run the whole test suite
#   make lint    ruff
#   make clean   remove what builds and runs leave behind (make distclean: $(VENV) too)

PYTHON ?= python3
VENV ?= .venv
DEMO_OUT ?= outputs/demo
EXAMPLE := stereopose_mm/assets/example

VENV_PY := $(VENV)/bin/python
PIP := $(VENV_PY) -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt
# Written last, so an install that was cut short never looks finished; holds where it was made,
# since an environment that has been copied or moved still points at its old place.
STAMP := $(VENV)/.stereopose-installed
INPUTS := $(sort $(wildcard requirements/*.txt)) setup.py Makefile

usable := $(shell $(VENV_PY) -c 'import pip' 2>/dev/null && cat $(STAMP) 2>/dev/null)
ifneq ($(usable),$(CURDIR))
$(STAMP): FORCE
clear := --clear
endif

.PHONY: setup demo test lint clean distclean FORCE
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): $(INPUTS)
	@command -v $(PYTHON) >/dev/null || { \
	    echo "error: '$(PYTHON)' not found; choose one with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "error: Python >= 3.10 is needed, '$(PYTHON)' is $$($(PYTHON) -V 2>&1);" \
	        "choose another with PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV) (some minutes and 6 GB the first time) ..."
	@rm -f $(STAMP)
	$(PYTHON) -m venv $(clear) $(VENV)
	$(PIP) -r requirements/build.txt
	$(PIP) --no-build-isolation $(foreach part,build runtime lite optional ray tests lint,-r requirements/$(part).txt)
	$(PIP) --no-build-isolation --no-deps -e .
	$(VENV_PY) -m pip check
	@echo '$(CURDIR)' > $(STAMP)

demo: $(STAMP)
	$(VENV_PY) tools/demo.py $(EXAMPLE)/clip.mp4 --keypoints $(EXAMPLE)/clip_keypoints.json --fov 55 --ground \
	    --save video,json,npz,bvh,gltf,html --out $(DEMO_OUT)
	@echo "Open $(DEMO_OUT)/viewer.html in a browser, or $(DEMO_OUT)/video.mp4"

test: $(STAMP)
	$(VENV_PY) -m pytest

lint: $(STAMP)
	$(VENV_PY) -m ruff check .
	$(VENV_PY) -m ruff format --check .

clean:
	rm -rf build dist *.egg-info $(DEMO_OUT) .pytest_cache .ruff_cache .hypothesis
	find stereopose_mm tests tools configs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)

FORCE:
