# Builds Rayfleet and installs it on a cluster, as its users do: an image, and the manifests. For hack/quickstart and hack/e2e,
# which set PROFILE (release or dev) and, for a cluster that is not the local one, CONTEXT.
# shellcheck shell=bash

SYSTEM_NAMESPACE=rayfleet-system
DEPLOYMENT=rayfleet-orchestrator

kube() { kubectl ${CONTEXT:+--context "$CONTEXT"} "$@"; }

require_rust() {
  if ! command -v cargo >/dev/null; then
    die "Rust is not on PATH; Rayfleet is built from source" "install it from https://rustup.rs (rust-toolchain.toml names the version that is used)"
  fi
}

built() { # where cargo puts the programs of PROFILE
  local folder=$PROFILE
  if [[ $folder == dev ]]; then folder=debug; fi
  echo "${CARGO_TARGET_DIR:-$REPO/target}/$folder"
}

build_rayfleet() {
  # What is shipped has no features but its own. For tests those of the whole workspace are taken, as everywhere in hack/test:
  # with others all libraries would be compiled again.
  local of=(-p rayfleet-orchestrator -p kubectl-rayfleet -p rayfleet-e2e)
  if [[ $PROFILE == dev ]]; then of=(--workspace); fi
  (cd "$REPO" && cargo build --locked --profile "$PROFILE" "${of[@]}" \
    --bin rayfleet-orchestrator --bin kubectl-rayfleet --bin rayfleet-quickstart --bin rayfleet-load)
}

image_name() { awk '$1 == "image:" { print $2; exit }' "$REPO/manifests/orchestrator/deployment.yaml"; }

load_orchestrator() { # into the nodes of the local cluster, unless it is the one that they have
  local binary tar name stamp
  binary=$(built)/rayfleet-orchestrator
  tar=$REPO/target/orchestrator.tar
  stamp=$(sha256sum <"$binary" | cut -c1-32)
  # Short names are Docker Hub's.
  name=$(image_name)
  if [[ ${name%%/*} != *[.:]* ]]; then name=docker.io/$name; fi
  if [[ $(installed_binary) != "$stamp" ]]; then
    # Without debug information the image is a tenth of the size, and is in the nodes at once.
    if command -v strip >/dev/null; then
      mkdir -p "$REPO/target/image"
      strip -o "$REPO/target/image/rayfleet-orchestrator" "$binary"
      binary=$REPO/target/image/rayfleet-orchestrator
    fi
    "$HACK/cluster" image "$name" "$binary" "$tar"
    "$HACK/cluster" load "$tar"
    rm -f "$tar" "$tar.sha256"
  fi
}

installed_binary() { # the hash of the program that the cluster runs
  kube -n "$SYSTEM_NAMESPACE" get deployment "$DEPLOYMENT" \
    -o 'jsonpath={.spec.template.metadata.annotations.rayfleet\.local/binary}' 2>/dev/null || true
}

apply_rayfleet() { # the annotation makes a new program roll out although the image's name is the same
  local stamp patch
  stamp=$(sha256sum <"$(built)/rayfleet-orchestrator" | cut -c1-32)
  patch="{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"rayfleet.local/binary\":\"$stamp\"}}}}}"
  kube apply -k "$REPO/manifests"
  if [[ -n ${CONTEXT:-} ]]; then
    if [[ -n ${ORCHESTRATOR_IMAGE:-} ]]; then
      kube -n "$SYSTEM_NAMESPACE" set image "deployment/$DEPLOYMENT" "orchestrator=$ORCHESTRATOR_IMAGE"
    fi
  else
    kube -n "$SYSTEM_NAMESPACE" patch deployment "$DEPLOYMENT" --type=strategic -p "$patch"
  fi
  if ! kube -n "$SYSTEM_NAMESPACE" rollout status "deployment/$DEPLOYMENT" --timeout=120s; then
    kube -n "$SYSTEM_NAMESPACE" describe pods | tail -n 20
    kube -n "$SYSTEM_NAMESPACE" logs "deployment/$DEPLOYMENT" --tail=20
    return 1
  fi
}

# From the sources to a running orchestrator, on a local cluster that is up.
install_locally() {
  eval "$("$HACK/cluster" env)"
  step "Build Rayfleet ($PROFILE; some minutes the first time)" "see the log; the compiler's words come first" build_rayfleet
  step "Load the orchestrator's image into the nodes" "see the log; hack/cluster status" load_orchestrator
  step "Install Rayfleet from manifests/" "kubectl -n $SYSTEM_NAMESPACE describe pods" apply_rayfleet
  PATH=$(built):$PATH
  export PATH
}
