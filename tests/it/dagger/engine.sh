#!/bin/sh
# An engine for the tests, in namespaces of its own, until standard input ends. Nothing of it outlives this script.
#
#   engine.sh ROOT IMAGES
#
# ROOT: an empty folder for its state and its socket; removed at the end. IMAGES: a folder of docker-registry, which is
# served to the engine in place of docker.io. The engine has no other network.
set -eu

if [ "${3-}" != inside ]; then
    unshare --mount --net --pid --ipc --fork --kill-child --propagation private \
        sh "$0" "$1" "$2" inside 2>"$1/log" >&2 || true
    cat "$1/log" >&2 || true # Nobody may be left to read it.
    rm -rf "$1"
    exit
fi

root=$1
mount -t proc proc /proc
ip link set lo up
for dir in /run /var/lib/cni /usr/local/share/ca-certificates; do
    mkdir -p "$dir"
    mount -t tmpfs -o mode=755 tmpfs "$dir"
done
# The engine writes to these: its own view of the resolver, and links to the iptables it chose.
mkdir /run/over
for dir in /etc /usr/bin; do
    over=/run/over$dir
    mkdir -p "$over/upper" "$over/work"
    mount -t overlay -o "lowerdir=$dir,upperdir=$over/upper,workdir=$over/work" overlay "$dir"
done
echo "127.0.0.1 localhost registry-1.docker.io" >/etc/hosts # Nobody is waited for.
rm -f /etc/resolv.conf
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
: >/etc/dnsmasq-resolv.conf
mkdir -p /etc/dagger
cat >/etc/dagger/engine.json <<'JSON'
{"gc": {"enabled": false}, "registries": {"docker.io": {"mirrors": ["127.0.0.1:5000"]}, "127.0.0.1:5000": {"http": true}}}
JSON
cat >/run/registry.yml <<YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $2}}
http: {addr: 127.0.0.1:5000}
YAML
ulimit -n "$(ulimit -Hn)"
docker-registry serve /run/registry.yml </dev/null &
DO_NOT_TRACK=1 dagger-engine --root "$root/state" --addr "unix://$root/socket" --oci-cni-pool-size 4 \
    --oci-cni-binary-dir /opt/cni/bin </dev/null &
# The first process of the namespace: with it everything ends.
cat >/dev/null
