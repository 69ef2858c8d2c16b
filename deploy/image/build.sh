#!/bin/sh
# Builds the image: `build.sh [TAG]`. docker where its engine runs, else buildah. Where the default
# PYTHON_IMAGE cannot be pulled, buildah's is made of Debian packages (root, debootstrap).
set -eu
cd "$(dirname "$0")/../.."

tag=${1:-detector}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
registry_image=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
set -- --build-arg "REVISION=$revision" --build-arg "VERSION=$version" --tag "$tag"
[ -z "${PIP_CONFIG_FILE:-}" ] || set -- "$@" --secret "id=pip.conf,src=$PIP_CONFIG_FILE"
[ -z "${PIP_CERT:-}" ] || set -- "$@" --secret "id=ca.pem,src=$PIP_CERT"

if docker info >/dev/null 2>&1; then
    export DOCKER_BUILDKIT=1
    exec docker build ${PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"} "$@" .
fi
command -v buildah >/dev/null || { echo "build.sh: neither a docker engine nor buildah" >&2; exit 2; }
export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"

if [ -z "${PYTHON_IMAGE:-}" ]; then
    if buildah pull --quiet "$registry_image" >/dev/null 2>&1; then
        PYTHON_IMAGE=$registry_image
    else
        PYTHON_IMAGE=localhost/detector-python:bookworm
        buildah inspect --type image "$PYTHON_IMAGE" >/dev/null 2>&1 ||
            deploy/image/base.sh "$PYTHON_IMAGE"
    fi
fi
# HEALTHCHECK is docker's, not OCI's.
exec buildah build --format docker --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" "$@" .
