# make study   환경을 만들고 JupyterLab에서 과정을 엽니다.
# make test    모든 노트북과 시험을 실행합니다.
# make models  패키지에 든 사전 학습된 모델(205 MB)을 받습니다.
# make beam    프로젝트 3을 여러 컴퓨터로 넓히는 Apache Beam의 환경을 따로 만듭니다.
# 필요한 것은 make와 Python 3.11(없으면 uv)뿐입니다. 어느 명령이든 중단했다가 다시 실행해도 됩니다.

VENV   ?= .venv
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN)
BIN    := $(VENV)/bin

.PHONY: study test models beam base dev advanced practice bench clean

study: base
	@$(BIN)/python main.py
	@$(BIN)/python main.py study

# 모델을 받지 못하면 그 까닭을 한 문장으로 알리고, 모델이 필요한 비교를 건너뛰었다고 끝에 적습니다.
test: advanced beam
	@$(BIN)/python main.py models all || true
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --nbval -n $(JOBS) -q --durations=10 $(PYTEST_ARGS)

models: base
	@$(BIN)/python main.py models all

beam:
	@python="$$(PYTHON="$(PYTHON)" VENV="$(VENV)" tools/python)" && "$$python" -m tf_study.install "$(VENV)-beam" beam

practice: dev
	$(BIN)/python -m tf_study.notebooks practice

bench: dev
	$(BIN)/python -m tf_study.notebooks bench

clean:
	rm -rf $(VENV) $(VENV)-beam build tf_study.egg-info

base dev advanced:
	@python="$$(PYTHON="$(PYTHON)" VENV="$(VENV)" tools/python)" && "$$python" -m tf_study.install "$(VENV)" $@
