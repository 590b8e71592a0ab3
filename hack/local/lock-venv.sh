#!/usr/bin/env bash
# Solves hack/python/requirements.in into the pinned requirements.txt. Run by hand when a version is to change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../python"
uv=${UV:-${RAYFLEET_LOCAL:-/var/lib/rayfleet-local}/uv/bin/uv}
"$uv" pip compile -q --upgrade --generate-hashes --python /usr/bin/python3 --override overrides.txt \
  --custom-compile-command hack/local/lock-venv.sh requirements.in -o requirements.txt
