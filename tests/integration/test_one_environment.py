"""Trainer, DeepSpeed and vLLM's CPU build share one environment with CPU-only torch."""

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest

VLLM_ON_CPU = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
SAMPLE_WITH_VLLM = """
import json, torch
from transformers import AutoModelForCausalLM
from vllm import LLM, SamplingParams
from rlvr_trainer.models import builtin_path
folder = str(builtin_path("arithmetic"))
prompt = [5, 6, 7, 8]
engine = LLM(model=folder, skip_tokenizer_init=True, dtype="float32", enforce_eager=True, max_model_len=128)
greedy = SamplingParams(max_tokens=16, temperature=0, logprobs=0, detokenize=False, ignore_eos=True)
answer = engine.generate([{"prompt_token_ids": prompt}], greedy, use_tqdm=False)[0].outputs[0]
tokens = list(answer.token_ids)
logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
reference = torch.log_softmax(logits.float(), -1)
gaps = [abs(p[t].logprob - reference[i, t].item()) for i, (p, t) in enumerate(zip(answer.logprobs, tokens))]
print(json.dumps({"largestGap": max(gaps)}))
"""
STEP_WITH_DEEPSPEED = """
import json, deepspeed, torch
from deepspeed.ops import __compatible_ops__
__compatible_ops__["deepspeed_shm_comm"] = False  # no compiler needed
deepspeed.init_distributed("gloo", rank=0, world_size=1, auto_mpi_discovery=False)
model = torch.nn.Linear(4, 1)
optimizer = {"type": "AdamW", "params": {"lr": 0.1, "torch_adam": True}}
config = {"train_batch_size": 8, "zero_optimization": {"stage": 2}, "optimizer": optimizer}
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
inputs, losses = torch.randn(8, 4), []
for _ in range(5):
    loss = (engine(inputs) - 1).square().mean()
    engine.backward(loss)
    engine.step()
    losses.append(loss.item())
print(json.dumps({"first": losses[0], "last": losses[-1], "torch": torch.__version__}))
"""


def run_python(code: str, **environment: str) -> dict[str, Any]:
    """Run `code` in a fresh interpreter; its last line of output is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_vllm_samples_the_shipped_model_and_agrees_with_transformers() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: make setup-vllm")
    assert run_python(SAMPLE_WITH_VLLM, **VLLM_ON_CPU)["largestGap"] < 1e-4


def test_deepspeed_takes_optimizer_steps_without_a_compiler() -> None:
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is missing: make setup-vllm")
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517", "LOCAL_RANK": "0"}
    losses = run_python(STEP_WITH_DEEPSPEED, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1", **master)
    assert losses["last"] < losses["first"]
    assert losses["torch"].startswith("2.13.")
