#!/usr/bin/env bash
# Start the test cluster, build and load the images, run a command there, take everything down.
# Usage: RLVR_KUBERNETES=FOLDER hack/e2e-cluster.sh COMMAND...   FOLDER has the script `cluster` (up, load, down, stop, start).
# The images are built into RLVR_IMAGES (default build/images) unless their archives are there already.
set -euo pipefail
cluster=${RLVR_KUBERNETES:?names the folder of the script that starts a cluster}/cluster
images=${RLVR_IMAGES:-build/images}
export RLVR_KUBE_STATE=${RLVR_KUBE_STATE:-$(mktemp -d)/kube}
[[ $RLVR_KUBE_STATE == /?* ]] || { echo "RLVR_KUBE_STATE=$RLVR_KUBE_STATE: it is purged at the end, so name an absolute folder" >&2; exit 64; }
missing=()
for image in operator reward trainer; do
  [[ -s $images/$image.tar ]] || missing+=("$image")
done
((${#missing[@]} == 0)) || hack/build-images.sh "$images" "${missing[@]}"
PATH=$("$cluster" bin):$PATH && export PATH
trap '"$cluster" down --purge >/dev/null 2>&1' EXIT
"$cluster" down --purge >/dev/null 2>&1 || true  # what a run that was cut off left
KUBECONFIG=$("$cluster" up | tail -n 1) && export KUBECONFIG
"$cluster" load "$images"/{operator,reward,trainer}.tar
"$@"
