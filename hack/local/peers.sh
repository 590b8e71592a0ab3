# The peers that hack/scale measures: other controllers, as they were released. Programs and manifests are those of the Go modules that
# tools/aibrix and tools/lws pin; their own main packages run, with the arguments of their own manifests.
# shellcheck shell=bash disable=SC2034  # hack/scale reads what is chosen

ensure_peer() { # ensure_peer NAME: its program and manifests are $BIN/NAME and $BIN/NAME.yaml
  local key
  key=$(hash_of "$HACK/tools/$1" "=$(declare -f build_peer "build_$1")")
  if is_fresh "$1" "$key" "$BIN/$1" "$BIN/$1.yaml"; then return 0; fi
  require_go
  step "Build $1 (3 min the first time)" "mostly the network: set GOPROXY" "build_$1"
  mark_fresh "$1" "$key"
}

build_aibrix() { build_peer aibrix github.com/vllm-project/aibrix cmd/controllers config/crd/orchestration; }
build_lws() { build_peer lws sigs.k8s.io/lws cmd config/default; }

build_peer() { # build_peer NAME MODULE PACKAGE MANIFESTS
  local module
  CGO_ENABLED=0 go -C "$HACK/tools/$1" build -ldflags '-s -w' -trimpath -o "$BIN/$1.new" "$2/$3"
  module=$(go -C "$HACK/tools/$1" list -m -f '{{.Dir}}' "$2")
  "$BIN/kubectl" kustomize "$module/$4" >"$BIN/$1.yaml.new"
  mv "$BIN/$1.yaml.new" "$BIN/$1.yaml"
  mv "$BIN/$1.new" "$BIN/$1"
}

choose_peer() { # choose_peer NAME: what hack/scale starts, applies and makes of it. No leases are held, as Rayfleet holds none there
  PEER=$1 CRDS=/run/scale/peer.yaml
  case $1 in
    aibrix) # the arguments of config/standalone/distributed-inference-controller: without the webhooks, which are for other kinds
      MANIFEST=$HACK/local/scale/fleet-own-engine.yaml
      CONTROLLER="$BIN/aibrix --leader-elect=false --health-probe-bind-address=:8081 --metrics-bind-address=0"
      CONTROLLER+=" --controllers=distributed-inference-controller --disable-webhook" ;;
    lws) # those of config/default, with a configuration that names our certificate
      MANIFEST=$HACK/local/scale/leaderworkerset.yaml
      CONTROLLER="$BIN/lws --leader-elect=false --config=/run/scale/lws/config.yaml --zap-log-level=2" ;;
    *) misused "--peer is '$1'" "give aibrix or lws" ;;
  esac
}

# --- In the namespaces of hack/scale, where $STATE is /run/scale. ---------------------------------------------------------------------

prepare_aibrix() { cp "$BIN/aibrix.yaml" "$STATE/peer.yaml"; }

prepare_lws() { # no pod can be made without its webhooks. There is no kube-proxy, so the API server calls them by URL, not by Service
  local authority kinds='CustomResourceDefinition|MutatingWebhookConfiguration|ValidatingWebhookConfiguration'
  umask 077
  mkdir "$STATE/lws"
  cd "$PKI" || return
  certificate lws "subjectAltName=IP:$HOST_IP"
  cp lws.crt "$STATE/lws/tls.crt"
  cp lws.key "$STATE/lws/tls.key"
  authority=$(base64 -w0 <ca.crt)
  cat >"$STATE/lws/config.yaml" <<YAML
apiVersion: config.lws.x-k8s.io/v1alpha1
kind: Configuration
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
webhook: {certDir: $STATE/lws}
YAML
  only_kinds "$kinds" "$BIN/lws.yaml" |
    sed "/^ *clientConfig:\$/ { n; N; N; N; s#^\( *\)service:.*path: \(.*\)#\1url: https://$HOST_IP:9443\2\n\1caBundle: $authority# }" \
      >"$STATE/peer.yaml"
}
