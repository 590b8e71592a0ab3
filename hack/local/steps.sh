# What the person sees: one line a step with its time, signs of life for long ones, and cause and cure on failure.
# shellcheck shell=bash

STEP_PID=''
exec {NEVER}<> <(:)                    # a descriptor that never has data: `read -t` on it is a sleep without a process

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }
seconds() { printf '%d.%d' $(($1 / 1000000)) $(($1 / 100000 % 10)); }
say() { printf '%s\n' "$*"; }

die() { # die CAUSE [CURE [EXIT-CODE]]
  printf 'error: %s\n' "$1" >&2
  if [[ -n ${2:-} ]]; then printf '  cure: %s\n' "$2" >&2; fi
  exit "${3:-1}"
}

step() { # step TEXT CURE FUNCTION [ARG...]: runs it with its output in a log; never call it where `set -e` is off (if, ||)
  local what=$1 cure=$2 began elapsed log rc=0 reported=0
  shift 2
  log=$LOGS/steps/$1.log
  mkdir -p "$LOGS/steps"
  began=$(now_us)
  set -m                               # a process group of its own, so that Ctrl-C can end all of it
  (set +m -e; trap - INT TERM EXIT; "$@") >"$log" 2>&1 </dev/null &
  STEP_PID=$!
  set +m
  while kill -0 "$STEP_PID" 2>/dev/null; do
    read -r -t 0.05 -u "$NEVER" || true
    elapsed=$((($(now_us) - began) / 1000000))
    if [[ -t 1 ]]; then
      if ((elapsed >= 2 && elapsed > reported)); then printf '\r\e[K… %s, %d s' "$what" "$elapsed"; reported=$elapsed; fi
    elif ((elapsed - reported >= 15)); then
      printf '… %s, %d s so far\n' "$what" "$elapsed"; reported=$elapsed
    fi
  done
  wait "$STEP_PID" || rc=$?
  STEP_PID=''
  elapsed=$(seconds $(($(now_us) - began)))
  if [[ -t 1 ]]; then printf '\r\e[K'; fi
  if ((rc == 0)); then printf '✓ %s (%s s)\n' "$what" "$elapsed"; return 0; fi
  {
    printf '✗ %s failed after %s s with exit code %d. The end of %s:\n' "$what" "$elapsed" "$rc" "$log"
    tail -n 20 "$log" | sed 's/^/    /'
    printf '  cure: %s\n' "$cure"
  } >&2
  exit 1
}

interrupted() {
  if [[ -n $STEP_PID ]]; then kill -- "-$STEP_PID" 2>/dev/null || true; fi
  printf '\ninterrupted; run the same command again to go on, or hack/cluster down\n' >&2
  exit 130
}

wait_until() { # wait_until SECONDS WHAT COMMAND...: polls a condition, fails by name
  local limit=$(($(now_us) + $1 * 1000000)) what=$2
  shift 2
  until "$@"; do
    if (($(now_us) > limit)); then die "gave up waiting for $what"; fi
    read -r -t 0.1 -u "$NEVER" || true
  done
}
