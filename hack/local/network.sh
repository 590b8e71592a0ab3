# The wires: one bridge on the host, a veth pair to each machine, and the host's routes to pods and services.
# shellcheck shell=bash

ensure_bridge() {
  if [[ ! -d /sys/class/net/$BRIDGE ]]; then
    ip link add "$BRIDGE" type bridge
    ip addr add "$HOST_IP/${MACHINE_NET#*/}" dev "$BRIDGE"
  fi
  ip link set "$BRIDGE" up
  ip route replace "$SERVICE_NET" via "$GATEWAY_IP"
  # A host that drops what it forwards (Docker's does) would also drop what passes over our bridge.
  if command -v iptables >/dev/null && [[ $(iptables -S FORWARD 2>/dev/null | head -n1) == '-P FORWARD DROP' ]] &&
    ! iptables -C FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT 2>/dev/null; then
    iptables -I FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT
  fi
}

address_conflict() { # says which of our ranges the host already uses for something else
  ip -4 route show | awk -v bridge="$BRIDGE" '/^10\.(88|96|99)\./ && $0 !~ ("dev " bridge) { print; found = 1 } END { exit !found }'
}

connect_machine() { # connect_machine NAME IP: a wire into its network namespace, which the recorded process holds
  local pid bytes mac
  pid=$(pid_of "$1") || return 1
  if [[ $(readlink "/proc/$pid/ns/net") == "$(readlink /proc/self/ns/net)" ]]; then return 1; fi  # it is not in yet
  ip link delete "$LINK_PREFIX$1" 2>/dev/null || true
  # The same address in every life, or the neighbours would talk to the old one for a while after a power loss.
  IFS=. read -r -a bytes <<<"$2"
  mac=$(printf '02:00:%02x:%02x:%02x:%02x' "${bytes[@]}")
  ip link add "$LINK_PREFIX$1" type veth peer name eth0 address "$mac" netns "$pid"
  ip link set "$LINK_PREFIX$1" master "$BRIDGE" up
}

remove_links() {
  local link
  for link in /sys/class/net/"$LINK_PREFIX"* "/sys/class/net/$BRIDGE"; do
    if [[ -e $link ]]; then ip link delete "${link##*/}"; fi    # its routes and the other end go with it
  done
  if command -v iptables >/dev/null; then
    while iptables -D FORWARD -i "$BRIDGE" -o "$BRIDGE" -j ACCEPT 2>/dev/null; do :; done
  fi
}
