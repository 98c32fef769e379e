#!/usr/bin/env bash
# Install the pinned torch into a virtual environment, and never gigabytes of CUDA on a machine without an NVIDIA GPU.
# Usage: hack/install-torch.sh PIP CONSTRAINTS.   TORCH_INDEX_URL names another package index for torch alone.
set -euo pipefail
pip=$1 constraints=$2
index=(${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"})
if ! command -v nvidia-smi >/dev/null; then
  plan=$("$pip" install --quiet --dry-run --no-deps --report - --constraint "$constraints" "${index[@]}" torch)
  if grep -qE '"(nvidia|cuda)-' <<<"$plan"; then
    echo "The torch that pip finds here needs CUDA packages (gigabytes), and this machine has no NVIDIA GPU." >&2
    echo "Name PyTorch's CPU index (see 'Get started' on pytorch.org): make TORCH_INDEX_URL=... demo" >&2
    exit 1
  fi
fi
"$pip" install --quiet --constraint "$constraints" "${index[@]}" torch
