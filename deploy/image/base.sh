#!/bin/sh
# Makes an image with Debian's Python out of Debian's packages: `base.sh TAG`.
set -eu
command -v debootstrap >/dev/null || { echo "base.sh: no debootstrap" >&2; exit 2; }

root=$(mktemp -d -p /dev/shm)  # in memory: dpkg waits for the disk after every file
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3-venv bookworm "$root" >&2
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/info/* "$root"/usr/share/locale/* \
    "$root"/usr/share/man/*

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah commit --quiet --rm "$container" "$1" >/dev/null
