# What each tier of hack/test does. A tier prints what it finds, returns 0 or not, and returns $SKIPPED with the
# reason in its last line when it cannot run here. Lines that begin with `NOTE: ` are shown with the outcome. It is
# run in a subshell, in the repository's root.
# shellcheck shell=bash disable=SC2034  # hack/test reads what is set here

CARGO_DENY=0.20.2
TOOLS=${RAYFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rayfleet}/tools
ADVISORIES=https://github.com/RustSec/advisory-db

MODEL=rollout::tests::model::every_history_keeps_the_guarantees

TIERS=(format deny python lint generated unit envoy ray e2e sim model grid)
# They only compute. Behind tiers with real clusters, which mostly wait, they have taken the time that those leave.
AHEAD=(sim model grid)
NAMED_ONLY=(mainjob scenarios rayvllm)
declare -A SETS=([quick]="format lint unit mainjob")
declare -A ABOUT=(
  [format]="rustfmt, gofmt, shellcheck"
  [deny]="licences, bans and sources of all dependencies; advisories where their database can be reached"
  [python]="unit tests of the Python parts"
  [lint]="clippy and rustdoc without a warning"
  [generated]="the CRD, its reference, the rules of lint and the page of commands are what the code generates"
  [unit]="unit and property tests of all crates"
  [sim]="the controller on a simulated Kubernetes and Ray: every scenario, and what the simulation itself is held to"
  [model]="model checking of the planner: every state that small fleets can reach"
  [envoy]="the gateway's endpoint picker behind a real Envoy, with the configurations of examples/envoy"
  [ray]="ray-bridge on real Ray in namespaces: every call, sixteen ranks exactly placed, data-parallel engines, every fault (needs root)"
  [e2e]="the API server answers as the simulated one; life, upgrades and faults of fleets on a real cluster (needs root)"
  [grid]="crashes, lost calls, stale watches and more at writes of every scenario: a sample; when named, all of them, some five hours of a core"
  [mainjob]="only when named: a simulated fleet gets another engine, another template, and that with a crash in the middle; seconds"
  [scenarios]="only when named: the simulation's scenarios on a real cluster end and go as simulated; 40 minutes (needs root)"
  [rayvllm]="only when named: vLLM on two Ray nodes through ray-bridge alone, also as two data-parallel engines; 8 minutes of both cores"
)

skip() { echo "$1"; exit "$SKIPPED"; }

# All parts of a tier run, so that one run shows all that is wrong.
failures=0
part() { # part NAME COMMAND...
  echo "== $1"
  shift
  if ! "$@"; then
    echo "== failed: $*"
    failures=$((failures + 1))
  fi
}

tier_format() {
  part rustfmt cargo fmt --all --check -- --color never
  if command -v gofmt >/dev/null; then part gofmt unformatted_go; else missing gofmt "install Go"; fi
  if ! command -v shellcheck >/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
    echo "installing shellcheck, which checks the scripts in hack/"
    apt-get install -y --no-install-recommends shellcheck
  fi
  if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(shell_scripts | sort -u)
    part shellcheck shellcheck -x --severity=warning "${scripts[@]}"
  else
    missing shellcheck "apt-get install shellcheck"
  fi
  return "$((failures > 0))"
}

missing() { # missing TOOL CURE: elsewhere a word is enough; CI has to have it
  echo "NOTE: $1 is not installed, so its check is skipped: $2"
  if [[ ${CI:-} == true ]]; then failures=$((failures + 1)); fi
}

unformatted_go() {
  local files
  files=$(gofmt -l hack/tools) || return 1
  if [[ -n $files ]]; then
    echo "not formatted: $files"
    echo "cure: gofmt -w hack/tools"
    return 1
  fi
}

shell_scripts() {
  find hack .ci -type f ! -name '*.py' -exec awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh( |$)|^# shellcheck shell=/ { print FILENAME }' {} \;
  find hack -type f -name '*.sh'
}

tier_deny() {
  local deny=$TOOLS/cargo-deny-$CARGO_DENY/bin/cargo-deny
  if [[ ! -x $deny ]]; then
    echo "building cargo-deny $CARGO_DENY into $TOOLS: some minutes, once"
    # Its own build is thorough and slow; the checks here take a second either way.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
      cargo install --locked cargo-deny --version "$CARGO_DENY" --root "$TOOLS/cargo-deny-$CARGO_DENY" || return 1
  fi
  part "licences, bans, sources" "$deny" --locked check --hide-inclusion-graph licenses bans sources
  if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code "$ADVISORIES" HEAD >/dev/null 2>&1; then
    part advisories "$deny" --locked check advisories
  else
    echo "NOTE: advisories skipped: database not reachable ($ADVISORIES)"
  fi
  return "$((failures > 0))"
}

tier_python() {
  local roots root
  mapfile -t roots < <(python_roots | sort -u)
  ((${#roots[@]})) || { echo "no Python tests found"; return 1; }
  for root in "${roots[@]}"; do part "$root" python3 -m unittest discover -s "$root"; done
  return "$((failures > 0))"
}

python_roots() { # the folders from which tests import: the first one upwards that is no package itself
  local file folder
  while read -r file; do
    folder=$(dirname "$file")
    while [[ -e $folder/__init__.py ]]; do folder=$(dirname "$folder"); done
    echo "$folder"
  done < <(find ray-bridge e2e hack -name 'test_*.py' -not -path '*/.venv/*')
}

tier_lint() {
  part clippy cargo clippy --locked --workspace --all-targets -- -D warnings
  RUSTDOCFLAGS="-D warnings" part rustdoc cargo doc --locked --workspace --no-deps
  return "$((failures > 0))"
}

tier_generated() {
  # Tests of their own hold manifests/crd.yaml and pages of docs/ to the code, and say how to write them again.
  cargo test --locked --workspace --test generated
}

tier_unit() {
  local args=() tests test
  # Integration tests are named one by one: those of the cluster, the simulation, Ray and generated files are tiers of their own.
  # All of them are run with `--workspace`: a choice of packages is a choice of features, and with others all is compiled again.
  tests=$(integration_tests "not in e2e") || return 1
  for test in $tests; do args+=(--test "$test"); done
  # CI: snapshots are compared, never written.
  part tests env CI=true cargo test --locked --workspace --no-fail-fast --lib --bins "${args[@]}" -- --skip "$MODEL" --skip tests::envoy::
  return "$((failures > 0))"
}

tier_model() {
  # Its output is not kept back: it tells the number of states that were visited.
  cargo test --locked --workspace --lib -- --nocapture --exact "$MODEL"
}

integration_tests() { # integration_tests "in the simulation", or "not in e2e"
  cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
wanted = sys.argv[1]
for package in json.load(sys.stdin)["packages"]:
    tests = {target["name"] for target in package["targets"] if "test" in target["kind"]}
    name = package["name"]
    simulation = name.startswith("rayfleet-sim")
    if simulation if wanted == "in the simulation" else not simulation and name != "rayfleet-e2e":
        print(*sorted(tests - {"generated", "ray"}))' "$1"
}

tier_sim() {
  local args=() tests test
  tests=$(integration_tests "in the simulation") || return 1
  for test in $tests; do args+=(--test "$test"); done
  # Of the package of the real cluster this one needs none: changes that are made there, too.
  args+=(--test simulated_plans)
  cargo test --locked --workspace --no-fail-fast "${args[@]}"
}

tier_mainjob() {
  local sim="${CARGO_TARGET_DIR:-target}/debug/rayfleet-sim" scenarios=e2e/sim/scenarios runs=3
  cargo build --locked --workspace --bin rayfleet-sim || return 1
  part "engine-only upgrade" "$sim" run "$scenarios/engine-only.yaml"
  part "template upgrade" "$sim" run "$scenarios/upgrade-surge.yaml"
  part "template upgrade, the orchestrator dies" "$sim" run "$scenarios/upgrade-surge.yaml" --faults crash-after:16
  echo "$((runs - failures)) passed, $failures failed, 0 skipped"
  return "$((failures > 0))"
}

tier_grid() {
  # Many runs: what the optimizer takes is soon earned.
  cargo build --locked --release -p rayfleet-sim || return 1
  "${CARGO_TARGET_DIR:-target}/release/rayfleet-sim" grid --stride "${RAYFLEET_GRID_STRIDE:-1}" --offset "${RAYFLEET_GRID_OFFSET:-0}"
}

tier_ray() {
  ((EUID == 0)) || skip "needs root, for network namespaces and mounts: sudo hack/test ray"
  hack/ray every_call sixteen data_parallel fault start
}

tier_envoy() { hack/envoy --workspace; }

tier_rayvllm() {
  ((EUID == 0)) || skip "needs root, for network namespaces and mounts: sudo hack/test rayvllm"
  hack/ray vllm
}

tier_e2e() {
  ((EUID == 0)) || skip "needs root, for network namespaces, mounts and cgroups: sudo hack/test e2e"
  hack/e2e
}

# Named only: it takes longer than all the others.
tier_scenarios() {
  ((EUID == 0)) || skip "needs root, for network namespaces, mounts and cgroups: sudo hack/test scenarios"
  hack/e2e --scenarios
}

counts() { # counts LOG -> passed failed skipped, from what cargo test, unittest and hack/e2e print
  awk '
    function number(text, word) {
      return match(text, "[0-9]+ " word) ? substr(text, RSTART, RLENGTH) + 0 : 0
    }
    function of(text, word,   found) {
      # Not "expected failures=1", which is as it should be.
      if (!match(text, "(\\(|, )" word "=[0-9]+")) return 0
      found = substr(text, RSTART, RLENGTH)
      sub(/^[^0-9]*/, "", found)
      return found + 0
    }
    /^test result: / { ok += number($0, "passed"); bad += number($0, "failed"); left += number($0, "ignored") }
    /^Ran [0-9]+ tests? in / { ran = $2 }
    /^OK( \(|$)|^FAILED \(/ {
      wrong = of($0, "failures") + of($0, "errors"); out = of($0, "skipped")
      ok += ran - wrong - out; bad += wrong; left += out; ran = 0
    }
    /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { ok += $1; bad += $3; left += $5 }
    END { print ok + 0, bad + 0, left + 0 }
  ' "$1"
}
