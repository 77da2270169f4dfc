# make study   환경을 만들고 JupyterLab에서 과정을 엽니다.
# make test    모든 노트북과 시험을 실행합니다.
# 필요한 것은 Python 3.11과 make뿐입니다. 두 명령 모두 여러 번 실행해도 됩니다.

PYTHON ?= python3.11
VENV   ?= .venv
JOBS   ?= 2
BIN    := $(VENV)/bin
PINS   := pyproject.toml constraints.txt

.PHONY: study test advanced practice bench clean

study: $(VENV)/.base
	$(BIN)/python -m ipykernel install --user --name tf_study --display-name "Python (tf_study)" > /dev/null
	$(BIN)/python main.py
	$(BIN)/python main.py study

test: $(VENV)/.advanced
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --nbval -n $(JOBS) --dist loadscope -q --durations=10 $(PYTEST_ARGS)

advanced: $(VENV)/.advanced

practice: $(VENV)/.dev
	$(BIN)/python -m tf_study.notebooks practice

bench: $(VENV)/.dev
	$(BIN)/python -m tf_study.notebooks bench

clean:
	rm -rf $(VENV) build tf_study.egg-info

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11이 없으니 설치한 뒤 make PYTHON=<경로>로 다시 실행하세요."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.base

$(VENV)/.advanced: $(PINS) | $(BIN)/python
	DS_BUILD_OPS=0 $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,advanced]"
	@touch $@ $(VENV)/.base $(VENV)/.dev
