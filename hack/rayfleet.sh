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
  local of=(-p rayfleet-orchestrator -p rayfleet-gateway -p kubectl-rayfleet -p rayfleet-e2e)
  if [[ $PROFILE == dev ]]; then of=(--workspace); fi
  (cd "$REPO" && cargo build --locked --profile "$PROFILE" "${of[@]}" \
    --bin rayfleet-orchestrator --bin rayfleet-gateway --bin kubectl-rayfleet --bin rayfleet-quickstart --bin rayfleet-load)
}

PROGRAMS=(orchestrator gateway)        # those that have an image

image_name() { awk '$1 == "image:" { print $2; exit }' "$REPO/manifests/$1/deployment.yaml"; }

stamp_of_programs() {
  local program
  for program in "${PROGRAMS[@]}"; do cat "$(built)/rayfleet-$program"; done | sha256sum | cut -c1-32
}

load_images() { # into the nodes of the local cluster, unless they are those that it has
  local program
  if [[ $(installed_programs) != "$(stamp_of_programs)" ]]; then
    for program in "${PROGRAMS[@]}"; do load_image "$program"; done
  fi
}

load_image() {
  local binary name tar=$REPO/target/$1.tar
  binary=$(built)/rayfleet-$1
  # Short names are Docker Hub's.
  name=$(image_name "$1")
  if [[ ${name%%/*} != *[.:]* ]]; then name=docker.io/$name; fi
  # Without debug information the image is a tenth of the size, and is in the nodes at once.
  if command -v strip >/dev/null; then
    mkdir -p "$REPO/target/image"
    strip -o "$REPO/target/image/rayfleet-$1" "$binary"
    binary=$REPO/target/image/rayfleet-$1
  fi
  "$HACK/cluster" image "$name" "$binary" "$tar"
  "$HACK/cluster" load "$tar"
  rm -f "$tar" "$tar.sha256"
}

installed_programs() { # the hash of the programs whose images the cluster has
  kube -n "$SYSTEM_NAMESPACE" get deployment "$DEPLOYMENT" \
    -o 'jsonpath={.spec.template.metadata.annotations.rayfleet\.local/programs}' 2>/dev/null || true
}

apply_rayfleet() { # the annotation makes a new program roll out although the image's name is the same
  local stamp patch
  stamp=$(stamp_of_programs)
  patch="{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"rayfleet.local/programs\":\"$stamp\"}}}}}"
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
  step "Load Rayfleet's images into the nodes" "see the log; hack/cluster status" load_images
  step "Install Rayfleet from manifests/" "kubectl -n $SYSTEM_NAMESPACE describe pods" apply_rayfleet
  PATH=$(built):$PATH
  export PATH
}
