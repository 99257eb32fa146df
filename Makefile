# Everything a newcomer needs: `make demo` and `make test`. Both set up what they need by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile
DATA ?= ../shared/data

.PHONY: setup demo test test-slow test-all lint check bench clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "postsense needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/postsense demo --out demo

test: setup
	$(PYTEST) -m 'not slow'

test-slow: setup
	$(PYTEST) -m slow

test-all: test test-slow

lint: setup
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/codespell src tests benchmarks docs README.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/mypy

check: lint test-all

bench: setup
	$(BIN)/python benchmarks/encoders.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/one_post.py
	$(BIN)/python benchmarks/cached_run.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/memory.py 400
	$(BIN)/python benchmarks/picture_costs.py
	$(BIN)/python benchmarks/mvsa.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/corpus_cleaning.py $(DATA)
	$(BIN)/python benchmarks/retrieval.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/cast.py $(DATA)
	$(BIN)/python benchmarks/fine_tuning.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/itc_itm.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/contrast_speed.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/spp_scl_settings.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/spp_scl.py $(DATA)/mvsa_single
	$(BIN)/python benchmarks/itrp.py $(DATA)
	$(BIN)/python benchmarks/combinations.py $(DATA)
	$(BIN)/python benchmarks/suite.py $(DATA) --sets mvsa_single multioff blog_haacked \
		--efforts standard quick --out build/suite.json

clean:
	rm -rf $(VENV) demo
