# Every target sets itself up: `make book` on a fresh machine needs Python 3.11-3.13, pip and make, no more.
PYTHON  ?= python3
WORKERS ?= 2
BIN     := .venv/bin
STAMP   := .venv/.installed
ifeq ($(OS),Windows_NT)
$(error This Makefile is for Linux and macOS; the README has the three commands for Windows)
endif

.PHONY: help book test test-elsewhere test-lowest test-newest lab lab-test notebooks pdf data lint clean
.DEFAULT_GOAL := help

help:           ## this list
	@echo "Deep Learning, Measured"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo "  Another interpreter: make book PYTHON=python3.12"

book: data      ## build the book from the stored outputs into _build/html
	$(BIN)/jupyter-book build . --all -W -n --keep-going
	@echo
	@echo "The book is built. Open  _build/html/index.html  in a browser, or, with a working search,"
	@echo "    $(BIN)/python -m http.server -d _build/html 8000    and then  http://localhost:8000"

# One thread a process and $(WORKERS) processes: faster than one process with all threads, and it proves that the
# stored outputs, which `make notebooks` makes with all threads, do not depend on the number of threads.
test: lint data ## lint, unit tests, every notebook re-run and compared, the book built and looked at
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q -ra --durations=20

test-elsewhere: data ## notebooks and tests of numbers as on other machines (SETTING=avx2: one of them; SETTING=--list)
	$(BIN)/python -m tools.elsewhere $(SETTING)

test-lowest: data .venv-lowest/.installed ## the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest --nbval -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q -ra

test-newest: data .venv-newest/.installed ## the tests with the newest versions that pyproject.toml allows, in .venv-newest
	OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest --nbval -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q -ra

.venv-lowest/.installed: pyproject.toml tools/bounds.py $(STAMP)
	$(PYTHON) -m venv .venv-lowest
	$(BIN)/python -m tools.bounds > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install -qq --disable-pip-version-check -c .venv-lowest/lowest.txt -e ".[book,study,test,korean]"
	@touch $@

# The newest versions are at least the tested ones: said to pip, it finds them in half a minute instead of half an hour.
.venv-newest/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-newest
	sed '/^#/d; s/==/>=/' constraints.txt > .venv-newest/at_least.txt
	.venv-newest/bin/python -m pip install -qq --upgrade --upgrade-strategy eager --disable-pip-version-check -c .venv-newest/at_least.txt -e ".[dev]"
	@touch $@

lab: data       ## study the lectures in JupyterLab
	@mkdir -p .venv/share/jupyter/lab/settings
	@cp tools/lab_overrides.json .venv/share/jupyter/lab/settings/overrides.json
	@$(BIN)/jupyter trust notebooks/*.ipynb >/dev/null      # else quizzes and cards show only after a run
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/README.md

lab-test: data  ## open every lecture in JupyterLab, run it and move a slider (minutes; needs Chromium)
	COURSE_LAB=all $(BIN)/python -m pytest tests/test_lab.py -q -ra

notebooks: data ## run every notebook again and store its outputs (one: NOTEBOOK=notebooks/06_transfer_learning.ipynb)
	$(BIN)/python -m tools.notebooks $(NOTEBOOK)

pdf: data       ## the whole book as one PDF (needs Chromium)
	$(BIN)/jupyter-book build . --all -W -n --keep-going --builder singlehtml
	$(BIN)/python -m tools.pdf _build/singlehtml _build/book.pdf

data: $(STAMP)  ## fetch and verify the built-in data (cached: needs no network the second time)
	$(BIN)/python -m helpers data fetch

lint: $(STAMP)  ## check the style and the types of the code, and that the notebooks are in canonical form
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tools.notebooks --check

clean:          ## remove what was built, not .venv and not the data
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no $(PYTHON) here. Install Python 3.11, 3.12 or 3.13, or name one: make book PYTHON=/path/to/python"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "make: $$($(PYTHON) --version) does not fit: the course needs 3.11, 3.12 or 3.13. Name one: make book PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || { echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; } || { \
	  rm -rf .venv; echo "make: $(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@echo "Installing the tested set of packages into .venv (PyTorch is large: some minutes and up to 6 GB, once)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
