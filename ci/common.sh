# shellcheck shell=bash disable=SC2034
# Sourced by the scripts of this folder: say what happens, install what is missing, once.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/ml-suite
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
    exit 1
}

# apt_need PACKAGE...: install the Debian packages that are missing
apt_need() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "these Debian packages are missing: ${missing[*]}" \
            "As root: apt-get install ${missing[*]}    For ecFlow without root: conda install -c conda-forge ecflow"
        root=(sudo -n)
    fi
    say "apt-get install ${missing[*]}"
    "${root[@]}" apt-get update -qq >/dev/null || true
    # the programs are wanted, not their system services (sshd, slurmd, ceph) running on this machine
    local policy=/usr/sbin/policy-rc.d ours="" done=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
        ours=1
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || done=$?
    [ -z "$ours" ] || "${root[@]}" rm -f "$policy"
    [ "$done" = 0 ] || die "apt-get could not install ${missing[*]}"
}

# python311: print a Python 3.11 that can make virtual environments
python311() {
    local python
    for python in python3.11 python3; do
        if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
            command -v "$python"
            return
        fi
    done
    die "no Python 3.11 found" "Debian 12 has it: apt-get install python3 python3-venv"
}

# lock_hash FILE...: short name of the contents
lock_hash() { cat "$@" | sha256sum | cut -c1-12; }
