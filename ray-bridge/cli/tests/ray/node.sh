#!/usr/bin/env bash
# First process of a Ray node in its own namespaces: node.sh NAME IP HEAD-IP GPUS. Ends with `ray start --block`, like a
# container of a pod.
set -euo pipefail
NAME=$1 IP=$2 HEAD=$3 GPUS=$4

hostname "$NAME"
mount -t tmpfs tmpfs /run                                # sessions, sockets and logs of this node
mount -t tmpfs -o size=1024m tmpfs /dev/shm
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up
ip addr add "$IP/24" dev eth0
ip link set eth0 up
ip route add default via "${IP%.*}.1"                    # without a route, Ray searches for its own address for seconds

common=(--block "--node-ip-address=$IP" --temp-dir=/run/ray --disable-usage-stats --object-store-memory=80000000
  --dashboard-agent-listen-port=52365 --metrics-export-port=8080 --num-cpus=4 "--num-gpus=$GPUS")
if [[ $IP == "$HEAD" ]]; then
  exec ray start "${common[@]}" --head --port=6379 --dashboard-host=0.0.0.0 --dashboard-port=8265
fi
exec ray start "${common[@]}" "--address=$HEAD:6379"
