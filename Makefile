# The two commands of a fresh machine: `make demo` and `make test`. Each installs what is missing, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# The real pipeline behind, for the tests; its own environment, as it needs other versions of the same libraries.
HURAHURA := .venv-hurahura

# Tests start thousands of processes of ours; without bytecode, each of them would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-again lint check compose-test cluster-test cluster-chaos bench-cluster wheel fix chaos bench bench-pixels faults crashes schema man constraints \
	clean system-demo system-test system-compose system-cluster

demo: system-demo $(STAMPS)/package
	$(BIN)/autorthanc-spool demo

# Most tests wait for a stable age or a poll: so five run at a time. ARGS=tests/unit for some.
# In the order of their names: what takes long comes first, the many short ones of tests/unit fill the end.
test: system-test $(STAMPS)/test $(HURAHURA)/.installed tests/node/node_modules/.installed
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n 5 --dist loadfile --no-loadscope-reorder)

# What failed beside four other tests, once more and alone. What passes now has a race, in the test or in the program: find it.
test-again:
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

lint: system-test $(STAMPS)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

# Studies of mixed sizes, while processor and Orthanc are killed at random: ARGS="--studies 200 --seed 7".
chaos: system-test $(STAMPS)/test
	$(BIN)/python -m tests.reliability.chaos $(ARGS)

# Every call to the spool and the output fails, with every error of a shared file system; a processor is cut off from it before
# every step. Takes hours.
faults: system-test $(STAMPS)/test
	AUTORTHANC_TEST_FAULTS=all $(BIN)/python -m pytest tests/reliability/test_shared_file_systems.py \
		tests/reliability/test_split_brain.py $(ARGS)

# A crash at every durable step, where the ordinary tests take every third. Takes half an hour.
crashes: system-test $(STAMPS)/test
	AUTORTHANC_TEST_CRASHES=all $(BIN)/python -m pytest -o timeout=1800 -k "dies or crash or killed" tests/spool tests/actions tests/system \
		tests/reliability $(ARGS)

# Figures, as ratios against something else in the same run. ARGS="zip queue" for some of the table.
bench: system-test $(STAMPS)/test .venv-bench/.installed
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.deidentify
	$(BIN)/python -m benchmarks.rules

# Text in pixels: a thousand pages through the detector and, afterwards, through tesseract; takes an hour.
# ARGS="--pages 100 --peers" for fewer, and for others beside it.
bench-pixels: system-test $(STAMPS)/test
	$(BIN)/python -m benchmarks.pixels $(ARGS)

# The Compose set-up in containers; as root. ARGS=--keep leaves the images for the next time.
compose-test: system-compose $(STAMPS)/compose
	$(BIN)/python tests/compose/run.py $(ARGS)

# Two hosts with a cluster file system and Slurm, in namespaces of this machine; as root. ARGS="-k jobs" for some.
cluster-test: system-cluster $(STAMPS)/test
	tests/cluster/enter $(BIN)/python -m pytest -o timeout=1800 tests/cluster $(ARGS)

# Processors, links, bricks and nodes of that lab are killed at random, for some minutes: ARGS="--minutes 5 --seed 7".
cluster-chaos: system-cluster $(STAMPS)/test
	tests/cluster/enter $(BIN)/python -m tests.cluster.chaos $(ARGS)

# 1, 2, 4 and 8 processors on that lab, and what one marker asks of a file system.
bench-cluster: system-cluster $(STAMPS)/test
	$(BIN)/python -m benchmarks.metadata
	tests/cluster/enter $(BIN)/python -m benchmarks.cluster

# What the Dockerfile takes, for `docker compose` in a checkout; `autorthanc-spool init` lays one into a site.
wheel: $(STAMPS)/test
	rm -rf dist
	PROJECT_URL="$(PROJECT_URL)" $(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

# The rows that the reader of rules uses, for editors.
schema: $(STAMPS)/test
	$(BIN)/python scripts/write_schema.py

# The versions that a release is installed with. pip-tools would know the wheels of this machine alone.
constraints: $(STAMPS)/test
	$(BIN)/pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--extra notify --output-file .cache/constraints.txt pyproject.toml
	sed --in-place '/^#/!d' constraints.txt
	cat .cache/constraints.txt >> constraints.txt

# The manual page, from the texts of --help.
man: $(STAMPS)/test
	$(BIN)/python -m scripts.write_man

fix: $(STAMPS)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Debian's python3 has no ensurepip without python3-venv.
system-demo:
	@scripts/install-system-packages orthanc $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

system-test: system-demo
	@scripts/install-system-packages bindfs dcmtk lua5.3 curl nginx-light postgresql orthanc-postgresql orthanc-dicomweb systemd dicom3tools \
		dcm2niix chromium prometheus mandoc man-db fish zsh tesseract-ocr tesseract-ocr-eng fonts-dejavu-core fonts-liberation \
		fonts-freefont-ttf fonts-noto-core $$(command -v npm >/dev/null || echo npm)

system-compose:
	@scripts/install-system-packages podman runc netavark aardvark-dns iptables iproute2 catatonit debootstrap \
		$$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

system-cluster: system-demo
	@scripts/install-system-packages glusterfs-server glusterfs-client fuse3 slurm-wlm munge iproute2 util-linux strace

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

# Other ways to get files out of Orthanc, for the benchmarks to compare with.
.venv-bench/.installed:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install -q --disable-pip-version-check pyorthanc==1.23.0 orthanc-api-client==0.25.3 matplotlib==3.10.0
	touch $@

$(HURAHURA)/.installed:
	$(PYTHON) -m venv $(HURAHURA)
	$(HURAHURA)/bin/pip install -q --disable-pip-version-check hurahura==0.2.4
	touch $@

tests/node/node_modules/.installed: tests/node/package.json
	cd tests/node && npm install --silent --no-audit --no-fund
	touch $@

$(STAMPS)/compose: $(STAMPS)/package
	$(BIN)/pip install -q --disable-pip-version-check -e '.[compose]'
	touch $@

clean:
	rm -rf $(VENV) $(HURAHURA) .venv-bench tests/node/node_modules .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
