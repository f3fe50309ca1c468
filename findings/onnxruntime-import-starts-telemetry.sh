#!/usr/bin/env bash
# onnxruntime 1.32.0 from PyPI, on Linux: to import it is to get a number for the device and a queue of events.
#
# `import onnxruntime` alone writes `Microsoft/DeveloperTools/.onnxruntime/deviceid` and `onnxruntime.db` (SQLite) into
# the user's cache folder, and the database then holds an event for the maker's server with the device's number (as a
# hash), the CPU, the system and what the executable is called. `disable_telemetry_events()` can only be called after
# that, and both files are there all the same. `ORT_DISABLE_TELEMETRY=1` before the import prevents them, and so does
# the variable `CI`, which is why a build server never shows it. Its Privacy.md says that it is on by default.
#
# A process of its own each, with a home of its own; what is counted is what lies there afterwards.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check --no-cache-dir onnxruntime==1.32.0 numpy==2.4.6 2>log || { tail -5 log; exit 1; }

look() {  # NAME, code, variables ...
    local name=$1 code=$2 home="$work/home"; shift 2
    rm -rf "$home"; mkdir "$home"
    # A proxy that nobody serves: nothing of this machine is sent while it is looked at.
    env -i PATH="$PATH" HOME="$home" XDG_CACHE_HOME="$home/cache" https_proxy=http://127.0.0.1:9 "$@" env/bin/python -c "$code" 2>>log
    local files; files=$(cd "$home" && find . -type f -printf '%f\n' | { grep -v -E -- '-(wal|shm)$' || true; } | sort | paste -sd' ')
    local database="$home/cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db" events=none
    [ -f "$database" ] && events=$(env/bin/python -c "import sqlite3, sys; print('some' if sqlite3.connect(sys.argv[1]).execute('select count(*) from events').fetchone()[0] else 'none')" "$database")
    echo "$name: files: ${files:-none}; events: $events"
}
{
    look "import alone" "import onnxruntime"
    look "disabled by the API" "import onnxruntime; onnxruntime.disable_telemetry_events()"
    look "ORT_DISABLE_TELEMETRY=1" "import onnxruntime" ORT_DISABLE_TELEMETRY=1
    look "CI=true" "import onnxruntime" CI=true
} > seen
cat seen; echo "onnxruntime 1.32.0"
cat > expected <<'TXT'
import alone: files: deviceid onnxruntime.db; events: some
disabled by the API: files: deviceid onnxruntime.db; events: some
ORT_DISABLE_TELEMETRY=1: files: none; events: none
CI=true: files: none; events: none
TXT
diff expected seen && echo "as described"
