# The two commands of a fresh machine: `make demo` and `make test`. Each installs what is missing, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

.PHONY: demo test check fix clean system-demo system-test

demo: system-demo $(STAMPS)/package
	$(BIN)/autorthanc-spool demo

test: system-test $(STAMPS)/test
	$(BIN)/python -m pytest $(ARGS)

check: system-test $(STAMPS)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

fix: $(STAMPS)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Debian's python3 has no ensurepip without python3-venv.
system-demo:
	@scripts/install-system-packages orthanc $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

system-test: system-demo
	@scripts/install-system-packages dcmtk lua5.3 curl nginx-light postgresql orthanc-postgresql orthanc-dicomweb systemd

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/package: $(STAMPS)/venv pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -e .
	touch $@

$(STAMPS)/test: $(STAMPS)/package
	$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
