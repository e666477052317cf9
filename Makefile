# The two commands of a fresh machine: `make demo` and `make test`. Each installs what is missing, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# The real pipeline behind, for the tests; its own environment, as it needs other versions of the same libraries.
HURAHURA := .venv-hurahura

.PHONY: demo test check compose-test wheel fix chaos bench schema clean system-demo system-test system-compose

demo: system-demo $(STAMPS)/package
	$(BIN)/autorthanc-spool demo

# Most tests wait for a stable age or a poll: three at a time take less than half of the time. ARGS=tests/unit for some.
test: system-test $(STAMPS)/test $(HURAHURA)/.installed
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n 3 --dist loadfile)

check: system-test $(STAMPS)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

# Studies of mixed sizes, while processor and Orthanc are killed at random: ARGS="--studies 200 --seed 7".
chaos: system-test $(STAMPS)/test
	$(BIN)/python -m tests.reliability.chaos $(ARGS)

# Figures, as ratios against something else in the same run.
bench: system-test $(STAMPS)/test
	$(BIN)/python -m benchmarks.download
	$(BIN)/python -m benchmarks.deidentify
	$(BIN)/python -m benchmarks.zip

# The Compose set-up in containers; as root. ARGS=--keep leaves the images for the next time.
compose-test: system-compose $(STAMPS)/compose
	$(BIN)/python tests/compose/run.py $(ARGS)

# What the Dockerfile takes, for `docker compose` in a checkout; `autorthanc-spool init` lays one into a site.
wheel: $(STAMPS)/test
	rm -rf dist
	$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

# The rows that the reader of rules uses, for editors.
schema: $(STAMPS)/test
	$(BIN)/python scripts/write_schema.py

fix: $(STAMPS)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Debian's python3 has no ensurepip without python3-venv.
system-demo:
	@scripts/install-system-packages orthanc $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

system-test: system-demo
	@scripts/install-system-packages dcmtk lua5.3 curl nginx-light postgresql orthanc-postgresql orthanc-dicomweb systemd dicom3tools \
		dcm2niix

system-compose:
	@scripts/install-system-packages podman runc netavark aardvark-dns iptables iproute2 catatonit debootstrap \
		$$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

# README.md is part of the metadata of the package, which a test compares with what is built.
$(STAMPS)/package: $(STAMPS)/venv pyproject.toml README.md
	$(BIN)/pip install -q --disable-pip-version-check -e .
# pip compiles what it copies, not what it only links to.
	$(BIN)/python -m compileall -q autorthanc_spool
	touch $@

$(STAMPS)/test: $(STAMPS)/package
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	touch $@

$(HURAHURA)/.installed:
	$(PYTHON) -m venv $(HURAHURA)
	$(HURAHURA)/bin/pip install -q --disable-pip-version-check hurahura==0.2.4
	touch $@

$(STAMPS)/compose: $(STAMPS)/package
	$(BIN)/pip install -q --disable-pip-version-check -e '.[compose]'
	touch $@

clean:
	rm -rf $(VENV) $(HURAHURA) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
