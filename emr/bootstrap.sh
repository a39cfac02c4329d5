#!/usr/bin/env bash
# EMR bootstrap action: makes an environment of a Python >= 3.11 with sagespark in it, and unpacks the jobs beside it.
#
#   bootstrap.sh WHEEL JOBS_ZIP [PREFIX]
#
# WHEEL and JOBS_ZIP are S3 URIs or local paths (`make emr-bundle` builds both). PREFIX is /opt/sagespark by default.
# A step then runs: spark-submit --conf spark.pyspark.python=PREFIX/bin/python PREFIX/jobs/quickstart.py --service aws
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: bootstrap.sh WHEEL JOBS_ZIP [PREFIX]" >&2
    exit 2
fi
wheel=$1
jobs_zip=$2
prefix=${3:-/opt/sagespark}

as_owner() { # run as this user where that works, else with sudo, as EMR's hadoop user needs for /opt
    "$@" 2>/dev/null || sudo "$@"
}

is_new_enough() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

if ! python=$(find_python); then
    # Amazon Linux 2023, the system of EMR 7, has it as a package.
    command -v dnf >/dev/null && sudo dnf install --assumeyes --quiet python3.11 python3.11-pip
    python=$(find_python) || {
        echo "bootstrap.sh: no Python 3.11 or newer with its venv module on this node, and dnf could not install one" >&2
        exit 1
    }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # fetch SOURCE: prints the path of a local copy that keeps the file's name, which pip reads
    local target
    target="$work/$(basename "$1")"
    case "$1" in
        s3://*) aws s3 cp --only-show-errors "$1" "$target" ;;
        *) cp "$1" "$target" ;;
    esac
    printf '%s\n' "$target"
}

wheel_file=$(fetch "$wheel")
jobs_file=$(fetch "$jobs_zip")

as_owner mkdir -p "$prefix"
[ -w "$prefix" ] || sudo chown "$(id -u):$(id -g)" "$prefix"
"$python" -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --disable-pip-version-check "${wheel_file}[emr]"
rm -rf "$prefix/jobs"
"$prefix/bin/python" -m zipfile -e "$jobs_file" "$prefix"
echo "sagespark $("$prefix/bin/python" -c 'from importlib.metadata import version; print(version("sagespark"))') is ready in $prefix ($("$prefix/bin/python" --version))"
