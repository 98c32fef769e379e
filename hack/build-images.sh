#!/usr/bin/env bash
# Build the images operator, reward and trainer and leave them as archives in a folder.
# Usage: hack/build-images.sh FOLDER [IMAGE...].   TAG and REGISTRY name them; BASE is the base image (images/Dockerfile).
# Without BASE, where no registry can be reached, `hack/base-image.sh` makes one from Debian packages.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 && shift
images=("$@") && (($#)) || images=(operator reward trainer)
tag=${TAG:-dev} registry=${REGISTRY:-rlvr.dev} base=${BASE:-}
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}  # vfs works everywhere, several times as slowly
mkdir -p "$folder"
[[ -n $base ]] || base=$(hack/base-image.sh "$folder")

# pip and apt work inside as they do here: their settings, and the folders and certificates that they name.
settings=$(mktemp) && trap 'rm -f "$settings"' EXIT
{ echo "[global]" && python3 -m pip config list | sed -E "s/^(global|:env:)\.//; s/='(.*)'$/ = \1/"; } | awk -F' =' '!seen[$1]++' > "$settings"
mounts=(--volume "$settings:/etc/pip.conf:ro")
named=$(grep -oE '(file://)?/[^ ]+' "$settings" | sed -E 's|^file://||; s|/simple/?$||')  # an index links to its siblings
for path in $(printf '%s\n' /etc/ssl/certs /etc/apt $named | sort -u); do
  if [[ -e $path && $path != /etc/ssl/certs/* ]]; then mounts+=(--volume "$path:$path:ro"); fi
done

for image in "${images[@]}"; do
  name=$registry/rlvr-$image:$tag
  buildah bud --layers --quiet --isolation chroot --file images/Dockerfile --target "$image" --tag "$name" "${mounts[@]}" \
    --label org.opencontainers.image.revision="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
    --build-arg BASE="$base" --build-arg TORCH_INDEX_URL="${TORCH_INDEX_URL:-}" . >/dev/null
  rm -f "$folder/$image.tar"
  buildah push --quiet "$name" "docker-archive:$folder/$image.tar:$name" >/dev/null
  echo "$name $(du -m "$folder/$image.tar" | cut -f 1) MiB $folder/$image.tar"
done
