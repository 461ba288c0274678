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
# For commands that users type; images without users often lack sudo.
SUDO := $(shell (( EUID == 0 )) || echo "sudo ")

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
# They would send packages elsewhere.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT

.PHONY: help quickstart test test-all lint docs setup gpaw venv clean

help:
	@echo "make quickstart   set everything up, then compute the facets of Mg and MgAg (about 12 minutes)"
	echo "make test         set everything up, then run all tests but the slow ones"
	echo "make test-all     the same with the slow ones (real DFT)"
	echo "make lint         ruff, mypy --strict and the layer contracts"
	echo "make docs         build the documentation as a site in .venv/site"
	echo "make gpaw         look again whether GPAW can be had with MPI"
	echo "make clean        remove .venv"

quickstart: $(BASE) $(GPAW)
	@$(VENV)/bin/mgsurf run examples/quickstart.yaml

test: $(DEV) $(GPAW)
	@$(PY) -m pytest -m "not slow" -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

test-all: $(DEV) $(GPAW)
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

docs: $(DEV)
	@$(PY) docs/make_commands.py
	$(PY) docs/make_site.py

lint: $(DEV)
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

setup: $(DEV) $(GPAW)

# The shell functions of the set-up. A step is one line for the user; its output goes into a log.
define SETUP
trap 'echo; echo "Interrupted. Type the same command again." >&2; exit 130' INT
log=$(VENV)/log
mkdir -p $$log
exec 9> $(VENV)/.setup.lock  # pip inherits it: after kill -9 of make, pip still runs, and two must not write here
flock -n 9 || { echo "Another set-up is running in $(VENV); waiting for it ..."; flock 9; }
fail() { echo "Error: $$*" >&2; exit 1; }
step() {  # LOG WHAT COMMAND...; where it fails the reason is in $$why
  local file=$$log/$$1.log what=$$2 began=$$SECONDS
  shift 2
  printf '%s ... ' "$$what"
  # in a shell of its own: the trap would write into the log where the command is a function
  if ("$$@") > $$file 2>&1 < /dev/null; then echo "done in $$((SECONDS - began)) s"; return 0; fi
  echo failed
  if grep -qE 'No space left on device|Disk quota exceeded' $$file; then
    why="the disk is full. Free some space and type the same command again"
  elif grep -qE $(NO_NETWORK) $$file; then
    why="no connection to the package server. Check the network (or the proxy settings) and type the same command again"
  else
    why=$$(grep -iE '^ *(error:|e:|fatal error)' $$file | tail -n 2 | cut -c1-300 | paste -sd ' ' || true)
    why=$${why:-$$(tail -n 1 $$file | cut -c1-300)}
  fi
  why="$${what%% (*} failed: $$why (log: $$file)."
  return 1
}
# The older and the newer name of the setting that pins build dependencies, too.
pip() { PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
  $(PY) -m pip --disable-pip-version-check --no-input install "$$@"; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120 "$$@"; }
# A fresh machine has no package lists; those of an old image name files that were removed.
apt_install() {
  apt install --no-install-recommends "$$@" || { apt update && apt install --no-install-recommends "$$@"; }
}
$(PY) -c "$$REPAIR"
endef
NO_NETWORK := 'ConnectionError|NameResolutionError|new connection|Temporary failure (in name )?resol|Name or service not known|Could not resolve|Network is unreachable|TimeoutError|ProxyError|connect to proxy'

# pip writes INSTALLER and RECORD last, but regards a package that lacks them, or other files, as complete.
define REPAIR
import importlib.metadata, pathlib, shutil
for left in pathlib.Path("$(VENV)").glob("lib/python3.*/site-packages/~*"):
    shutil.rmtree(left) if left.is_dir() else left.unlink()
for info in pathlib.Path("$(VENV)").glob("lib/python3.*/site-packages/*.dist-info"):
    files = importlib.metadata.Distribution.at(info).files or []
    whole = files and (info / "INSTALLER").exists()
    looked_at = (f for f in files if f.suffix != ".pyc" and f.parts[0] != "tests")
    if not whole or not all(f.locate().exists() for f in looked_at):
        print("Repairing an interrupted installation:", info.stem, flush=True)
        shutil.rmtree(info)
endef
export REPAIR

$(BASE): | venv
	@$(SETUP)
	step packages "Installing Python packages (typically 1 to 4 minutes)" pip -e . || fail "$$why"
	rm -f $(VENV)/.stamp-base-*
	touch $@

$(DEV): | venv
	@$(SETUP)
	step packages "Installing Python packages with those of the tests (typically 1 to 4 minutes)" \
	  pip -e '.[dev]' || fail "$$why"
	# The wheel of optimade 1.5.0 carries its own tests, which would hide ours in subprocesses.
	rm -rf $(VENV)/lib/python3.*/site-packages/tests
	rm -f $(VENV)/.stamp-base-* $(VENV)/.stamp-dev-*
	touch $@ $(BASE)

$(GPAW): | venv
	@$(BUILD_GPAW)

gpaw: $(BASE)
	@$(BUILD_GPAW)

# As root, apt installs what MPI needs (`mgsurf doctor` names the same packages); else what is installed decides.
MPI_APT := libopenmpi-dev openmpi-bin libxc-dev libopenblas-dev libfftw3-dev libscalapack-openmpi-dev
MPI_LIBRARIES := xc fftw3 openblas scalapack-openmpi

# Prints the versions of GPAW and its data sets and how it was built; fails where either is not usable.
define WHICH_GPAW
import gpaw, gpaw.cgpaw, glob, importlib.metadata as m
assert any(glob.glob(f"{path}/Mg.*PBE*") for path in gpaw.setup_paths)
print(m.version("gpaw"), m.version("gpaw-data"), "with" if getattr(gpaw.cgpaw, "have_mpi", 0) else "without", "MPI")
endef
export WHICH_GPAW

define BUILD_GPAW
$(SETUP)
which_gpaw() { $(PY) -P -c "$$WHICH_GPAW" 2> /dev/null || true; }
links() { "$$1" -x c++ - -o $$log/probe "$${@:2}" 2> /dev/null <<< 'int main() { return 0; }'; }
has_mpi() { command -v mpirun > /dev/null && links mpicc $(MPI_LIBRARIES:%=-l%); }
compiler() { command -v g++ || command -v c++ || command -v clang++; }
missing() {  # packages without which nothing can be compiled
  compiler > /dev/null || echo g++
  if [ -f "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then return 0; fi
  if [ "$$(readlink -f $(PY))" = "$$(readlink -f /usr/bin/python3)" ]; then echo python3-dev; return 0; fi
  $(PY) -c 'import sys; print("python3.%d-dev" % sys.version_info[1])'
}
warn() {
  printf '\nWARNING: GPAW is built without MPI: each calculation uses one core only. %s\n%s\n\n' "$$1" \
    "WARNING: Once the cause is removed, type: make gpaw" >&2
}
# pip would take a cached wheel that another siteconfig made.
compile() { GPAW_CONFIG=$$PWD/$$log/siteconfig.py pip --force-reinstall --no-deps --no-cache-dir gpaw; }
mpi_build() {
  printf '%s\n' "mpi = True" "compiler = 'mpicc'" "fftw = True" "scalapack = True" \
    "libraries = '$(MPI_LIBRARIES)'.split()" > $$log/siteconfig.py
  step gpaw-mpi "Compiling GPAW with MPI (typically 1 to 2 minutes)" compile || return 1
  why="GPAW with MPI does not import; see why with: $(PY) -m gpaw info."
  [ "$$(which_gpaw)" = "$$want with MPI" ]
}
serial_build() {  # without libxc GPAW has its own PBE, without BLAS it takes scipy's
  local c=$$(compiler) xc="" blas=""
  if links $$c -lxc; then xc=xc; fi
  if links $$c -lopenblas; then blas=openblas; elif links $$c -lblas; then blas=blas; fi
  # GPAW tests both with one link command: a missing one would switch off the other.
  printf '%s\n' "mpi = False" "compiler = '$$c'" "libraries = '$$xc $$blas'.split()" \
    "nolibxc = not '$$xc'" "noblas = not '$$blas'" > $$log/siteconfig.py
  step gpaw-serial "Compiling GPAW without MPI (typically 1 minute)" compile || fail "$$why"
}
set_up_gpaw() {
  want=$$(sed -n 's/^gpaw==//p' constraints.txt)" "$$(sed -n 's/^gpaw-data==//p' constraints.txt)
  local found=$$(which_gpaw) needed="" mpi="" apt_here=""
  if [ "$$found" = "$$want with MPI" ]; then return 0; fi
  if [ $$EUID = 0 ] && command -v apt-get > /dev/null; then apt_here=yes; fi
  if [ "$${MGSURF_GPAW_MPI:-1}" != 0 ]; then
    if [ "$$apt_here" ] && ! has_mpi; then
      step apt "Installing MPI, libxc and OpenBLAS with apt (typically 40 s)" \
        apt_install $$(missing) $(MPI_APT) || warn "$$why"
    fi
    if has_mpi; then mpi=yes; fi
  fi
  needed=$$(missing | paste -sd ' ')
  if [ "$$needed" ] && [ "$$apt_here" ]; then
    step apt "Installing a compiler with apt (typically 20 s)" apt_install $$needed || fail "$$why"
    needed=""
  fi
  if [ "$$found" = "$$want without MPI" ] && [ -z "$$mpi" -o "$$needed" ]; then return 0; fi
  if [ "$$needed" ]; then
    fail "GPAW has to be compiled, and a C++ compiler or Python's header files cannot be found. Type:" \
      "$(SUDO)apt-get install -y $$needed   and then the same command again."
  fi
  step gpaw-data "Installing GPAW's atomic data sets, 80 MB (typically 10 s)" pip gpaw-data || fail "$$why"
  if [ -z "$$mpi" ] || ! { mpi_build || { warn "$$why"; false; }; }; then serial_build; fi
  found=$$(which_gpaw)
  case "$$found" in
    "$$want "*) echo "GPAW $${found/ * w/ w} is ready." ;;
    *) fail "GPAW was compiled but does not import. See why with: $(PY) -m gpaw info" ;;
  esac
}
set_up_gpaw
rm -f $(VENV)/.stamp-gpaw-*
touch $(GPAW)
endef

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
	    "Install one ($(SUDO)apt-get install python3 python3-venv) or name one:" \
	    "make $(or $(MAKECMDGOALS),quickstart) PYTHON=/path/to/python3.12" >&2
	  exit 1
	fi
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then
	  package=$$("$$found" -c 'import sys; v = "python3.%d" % sys.version_info[1]; print(v + "-venv")')
	  if [ "$$found" = python3 ]; then package=python3-venv; fi
	  echo "Error: $$(command -v "$$found") cannot make virtual environments. Type:" \
	    "$(SUDO)apt-get install -y $$package   and then the same command again." >&2
	  exit 1
	fi
	echo "Making the virtual environment .venv with $$("$$found" --version) ..."
	"$$found" -m venv --clear $(VENV)

clean:
	rm -rf $(VENV)
