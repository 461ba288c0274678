# Two commands: `make quickstart` and `make test`. Everything lives in .venv/ inside the repository.
# Another Python: make quickstart PYTHON=/path/to/python3.12
# GPAW without MPI where MPI would be possible: make quickstart MGSURF_GPAW_MPI=0

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SUFFIXES:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

VENV := .venv
PY := $(VENV)/bin/python
WORKERS ?= 2

# What is installed depends on these two files and on where the repository lies (scripts hold its path).
# A set-up step writes its stamp when it is complete; an interrupted one is simply done again.
HASH := $(shell { cat pyproject.toml constraints.txt; pwd; } 2>/dev/null | sha256sum | cut -c1-16)
# Make looks at the stamps before the rule `venv` can wipe a broken environment, so its stamps go first.
_ := $(shell unset PYTHONPATH PYTHONHOME; $(PY) -c 'import pip' >/dev/null 2>&1 || rm -f $(VENV)/.stamp-*)
BASE := $(VENV)/.stamp-base-$(HASH)
DEV := $(VENV)/.stamp-dev-$(HASH)
GPAW := $(VENV)/.stamp-gpaw-$(HASH)

# BLAS threads beside MPI ranks or test workers make everything several times slower.
export OMP_NUM_THREADS ?= 1
# matplotlib would write its font cache into the home folder.
export MPLCONFIGDIR ?= $(CURDIR)/$(VENV)/cache/matplotlib
export MGSURF_GPAW_MPI
unexport PYTHONPATH PYTHONHOME

.PHONY: help quickstart test test-all lint setup gpaw venv clean

help:
	@echo "make quickstart   set everything up, then compute the facets of Mg and MgAg (about 12 minutes)"
	echo "make test         set everything up, then run all tests but the slow ones"
	echo "make test-all     the same with the slow ones (real DFT)"
	echo "make lint         ruff, mypy --strict and the layer contracts"
	echo "make gpaw         look again whether GPAW can be had with MPI"
	echo "make clean        remove .venv"

quickstart: $(BASE) $(GPAW)
	@$(VENV)/bin/mgsurf run examples/quickstart.yaml

test: $(DEV) $(GPAW)
	@$(PY) -m pytest -m "not slow" -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

test-all: $(DEV) $(GPAW)
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

lint: $(DEV)
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

setup: $(DEV) $(GPAW)

gpaw: $(BASE)
	@$(PY) -m workflows.engines.install_gpaw
	touch $(GPAW)

$(BASE): | venv
	@$(PY) -m workflows.engines.install_packages
	rm -f $(VENV)/.stamp-base-*
	touch $@

$(DEV): | venv
	@$(PY) -m workflows.engines.install_packages dev
	rm -f $(VENV)/.stamp-base-* $(VENV)/.stamp-dev-*
	touch $@ $(BASE)

$(GPAW): | venv
	@$(PY) -m workflows.engines.install_gpaw
	rm -f $(VENV)/.stamp-gpaw-*
	touch $@

# A Python new enough comes first; then an environment that is whole, made anew where it is not.
venv:
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
	if [ -x $(PY) ] && $(PY) -c "$$new_enough" 2>/dev/null \
	  && $(PY) -c 'import pip' >/dev/null 2>&1 \
	  && ls $(VENV)/lib/python3.*/site-packages/pip-*.dist-info/INSTALLER >/dev/null 2>&1; then
	  exit 0
	fi
	found=""; tried=""
	for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do
	  command -v "$$candidate" >/dev/null 2>&1 || { tried="$$tried $$candidate (not found)"; continue; }
	  if "$$candidate" -c "$$new_enough" 2>/dev/null; then found="$$candidate"; break; fi
	  version=$$("$$candidate" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null || echo "does not run")
	  tried="$$tried $$(command -v "$$candidate") ($$version)"
	done
	if [ -z "$$found" ]; then
	  echo "Error: mgsurf needs Python 3.11 or newer; tried:$$tried." \
	    "Install one (sudo apt-get install python3 python3-venv) or name one:" \
	    "make $(or $(MAKECMDGOALS),quickstart) PYTHON=/path/to/python3.12" >&2
	  exit 1
	fi
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then
	  package=$$("$$found" -c 'import sys; v = "python3.%d" % sys.version_info[1]; print(v + "-venv")')
	  if [ "$$found" = python3 ]; then package=python3-venv; fi
	  echo "Error: $$(command -v "$$found") cannot make virtual environments. Type:" \
	    "sudo apt-get install -y $$package   and then the same command again." >&2
	  exit 1
	fi
	echo "Making the virtual environment .venv with $$("$$found" --version) ..."
	"$$found" -m venv --clear $(VENV)

clean:
	rm -rf $(VENV)
