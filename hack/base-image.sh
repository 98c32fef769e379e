#!/usr/bin/env bash
# A base image from Debian packages, for machines that reach no image registry; prints its name.
# It stands in for python:3.11-slim-bookworm: the same distribution and minor version of Python.
# Usage: hack/base-image.sh FOLDER (keeps the archive there and makes it once).   Needs mmdebstrap and buildah.
set -euo pipefail
name=localhost/rlvr-base:bookworm archive=$1/base.tar
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay}  # vfs works everywhere, several times as slowly
if ! buildah inspect --type image "$name" >/dev/null 2>&1; then
  [[ -s $archive ]] || mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$archive" >&2
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$archive" / >/dev/null
  buildah commit --quiet --rm "$container" "$name" >/dev/null
fi
echo "$name"
