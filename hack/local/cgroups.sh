# The cluster's cgroups: /rayfleet/NAME for each machine and process, in every hierarchy. Kubelets put their pods below theirs.
# shellcheck shell=bash

cgroups_v2() { [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; }

hierarchies() { # mount points; on v1 that is one for each controller, and perhaps the unified one besides
  awk '$(NF-2) == "cgroup" || $(NF-2) == "cgroup2" { print $5 }' /proc/self/mountinfo
}

tracking_hierarchy() { # where processes are kept track of
  if cgroups_v2; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/pids; fi
}

# On v2 a cgroup that gives its controllers on may hold no process itself, hence the leaf.
tracking_cgroup() { echo "$(tracking_hierarchy)/$CGROUP/$1/system"; }

make_cgroup() {
  local dir
  mkdir -p "$(tracking_cgroup "$1")"
  if cgroups_v2; then
    for dir in /sys/fs/cgroup "/sys/fs/cgroup/$CGROUP" "/sys/fs/cgroup/$CGROUP/$1"; do
      echo '+cpu +cpuset +memory +pids +io' >"$dir/cgroup.subtree_control" ||
        die "no control over the cgroup $dir" "run on the host itself, or in a container with a cgroup subtree delegated to it"
    done
    return
  fi
  while read -r dir; do
    mkdir -p "$dir/$CGROUP/$1"
    # A new cpuset is empty, and a process in an empty one cannot run: fill it from the top down.
    if [[ -f $dir/cpuset.cpus ]]; then
      local level
      for level in "$dir/$CGROUP" "$dir/$CGROUP/$1"; do
        cat "$dir/cpuset.cpus" >"$level/cpuset.cpus"
        cat "$dir/cpuset.mems" >"$level/cpuset.mems"
      done
    fi
  done < <(hierarchies)
  # Against the host's other processes the whole cluster counts as one of them, and groups would not come up in time beside a build.
  echo 8192 >"/sys/fs/cgroup/cpu/$CGROUP/cpu.shares"
  # A real control plane has processors of its own; here pods that load a model must not starve it.
  if [[ $1 != node-* ]]; then echo 8192 >"/sys/fs/cgroup/cpu/$CGROUP/$1/cpu.shares"; fi
}

cgroup_pids() { # cgroup_pids [NAME]: all processes below it
  local dir
  dir=$(tracking_hierarchy)/$CGROUP${1:+/$1}
  if [[ -d $dir ]]; then find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null || true; fi
}

cgroups_removed() { # cgroups_removed [NAME]: tries, and says whether they are gone
  local dir
  while read -r dir; do
    dir=$dir/$CGROUP${1:+/$1}
    if [[ -d $dir ]]; then find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    if [[ -d $dir ]]; then return 1; fi
  done < <(hierarchies)
}
