# Starts, finds and ends the cluster's processes. One is known by pid AND start time, so a reused pid is never taken for ours.
# shellcheck shell=bash

start_time() { # start_time PID: clock ticks since boot; fails when there is no such process or only its zombie
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) }                    # the name may hold spaces and brackets
  if [[ ${stat:0:1} == [ZX] ]]; then return 1; fi
  cut -d' ' -f20 <<<"$stat"
}

pid_of() { # pid_of NAME: its pid if it is alive
  local pid='' started=''
  read -r pid started 2>/dev/null <"$STATE/run/$1" || return 1
  if [[ -n $started && $(start_time "$pid") == "$started" ]]; then echo "$pid"; else return 1; fi
}

is_running() { pid_of "$1" >/dev/null; }

start_process() { # start_process NAME COMMAND...: a daemon in the cgroup NAME with its log in $LOGS/NAME.log
  local name=$1 pid
  shift
  mkdir -p "$STATE/run"
  make_cgroup "$name"
  setsid bash "$HACK/local/enter-cgroup.sh" "$(tracking_cgroup "$name")" "$@" \
    >"$LOGS/$name.log" 2>&1 </dev/null {LOCK}>&- {NEVER}>&- &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$STATE/run/$name.new"
  mv "$STATE/run/$name.new" "$STATE/run/$name"
}

end_process() { # end_process NAME: SIGKILL for it and for all that is left in its cgroup
  local pid
  if pid=$(pid_of "$1"); then kill -9 "$pid" 2>/dev/null || true; fi
  wait_until 20 "the end of $1" cgroup_emptied "$1"
  rm -f "$STATE/run/$1"
}

cgroup_emptied() { # a process gets into our cgroup only by our hand, so whatever is in it is ours to end
  local pids
  pids=$(cgroup_pids "$1")
  if [[ -z $pids ]]; then return 0; fi
  # shellcheck disable=SC2086  # one word a pid
  kill -9 $pids 2>/dev/null || true
  return 1
}
