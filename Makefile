# Two commands: `make demo` shows what Puji does, `make test` checks that it does it. Both make the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench clean
demo: $(STAMP)
	$(BIN)/puji demo --out gallery

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

# The stamp is renewed only when pyproject.toml changes: a second `make` installs nothing.
$(STAMP): pyproject.toml
	$(PYTHON) tools/check_python.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): a few minutes ... 正在安装，需几分钟……"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[all,dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) gallery build dist .pytest_cache .mypy_cache .ruff_cache
