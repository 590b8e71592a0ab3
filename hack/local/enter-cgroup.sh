#!/usr/bin/env bash
# enter-cgroup.sh FOLDER COMMAND...: moves itself into the cgroup and becomes the command.
set -euo pipefail
echo $$ >"$1/cgroup.procs"
shift
exec "$@"
