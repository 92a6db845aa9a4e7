# make demo    upscale a sample scene; the results lie in demo/
# make test    run the whole test suite
# make check   ruff and mypy
# make test-system   install Debian packages that some tests need and skip without (as root)
# make bench   measure speed and memory on this machine
# make clean   remove what these have made, except .venv
#
# Needs Python 3.11 or later and make, nothing else: the first target that is made builds .venv.

SHELL := /bin/sh
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo test test-system check bench clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	@mkdir -p demo
	$(BIN)/espcn sample demo/scene.tif
	$(BIN)/espcn upscale demo/scene.tif demo/scene-x2.tif --preview --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

test-system:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		chromium systemd iproute2 dicom3tools dcmtk \
		orthanc orthanc-dicomweb orthanc-wsi orthanc-gdcm openslide-tools
	@# Debian starts the PACS that it installs; the tests start one of their own, on loopback
	-systemctl disable --quiet --now orthanc.service 2>/dev/null

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m workflows.bench

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	echo "espcn needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
