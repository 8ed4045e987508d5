#!/usr/bin/env bash
# A real Ceph RADOS gateway on loopback, for the S3 tests: one monitor, one OSD, one gateway, no systemd, some 15 s.
#
#   ci/ceph.sh up DIR      start it with its data in DIR; DIR/connection.json says how to reach it
#   ci/ceph.sh kill DIR    kill -9 the gateway only
#   ci/ceph.sh down DIR    end what `up` started, by recorded process and start time
#
# Needs root and Debian's packages radosgw ceph-mon ceph-osd ceph-common, which `up` installs when they are missing.
set -euo pipefail
umask 077

packages=(radosgw ceph-mon ceph-osd ceph-common)

die() { echo "ceph.sh: $*" >&2; exit 1; }

install_packages() {
    command -v radosgw ceph-mon ceph-osd ceph radosgw-admin monmaptool > /dev/null && return
    [ "$(id -u)" = 0 ] || die "${packages[*]} are not installed and only root can install them"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
        > "$dir/apt.log" 2>&1 || die "apt-get cannot install ${packages[*]}: $(tail -n 1 "$dir/apt.log")"
}

# ticks since boot at which a process started; nothing if there is none, or only its zombie
started() {
    local state rest
    { read -r state rest < <(sed 's/.*) //' "/proc/$1/stat"); } 2> /dev/null || return 0
    [ "$state" = Z ] || cut -d ' ' -f 19 <<< "$rest"
}

run_daemon() { # NAME COMMAND...
    local name=$1
    shift
    setsid "$@" --foreground --setuser root --setgroup root < /dev/null >> "$dir/$name.out" 2>&1 &
    echo "$! $(started $!)" > "$dir/$name.pid"
}

end_daemon() { # NAME SIGNAL
    [ -f "$dir/$1.pid" ] || return 0
    local pid start
    read -r pid start < "$dir/$1.pid"
    [ "$(started "$pid")" = "$start" ] || return 0
    kill "-$2" "$pid" 2> /dev/null || return 0
    for _ in $(seq 50); do
        [ "$(started "$pid")" = "$start" ] || return 0
        sleep 0.1
    done
    [ "$2" = KILL ] || end_daemon "$1" KILL
}

running() { # NAME
    local pid start
    [ -f "$dir/$1.pid" ] && read -r pid start < "$dir/$1.pid" && [ "$(started "$pid")" = "$start" ]
}

# not from the range that the kernel gives to clients: one of them could hold the port while the gateway restarts
free_ports() {
    python3 - <<'PYTHON'
import random, socket
held = []
for port in random.sample(range(12000, 20000), 200):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", port))
    except OSError:
        continue
    held.append(s)
    if len(held) == 2:
        break
print(*(s.getsockname()[1] for s in held))
PYTHON
}

random_hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

write_configuration() {
    local mon rgw
    read -r mon rgw < <(free_ports)
    echo "$mon $rgw" > "$dir/ports"
    cat > "$conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$mon
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
ms bind port min = 20000
ms bind port max = 32000
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = $dir/keyring
run dir = $dir
admin socket = $dir/\$name.asok
log file = $dir/\$name.log
mon cluster log file = $dir/cluster.log
crash dir = $dir
mon data = $dir/mon
osd data = $dir/osd
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
osd crush chooseleaf type = 0
[osd]
osd objectstore = bluestore
bluestore block size = 21474836480
osd memory target = 1073741824
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$rgw
rgw data = $dir/rgw
CONF
}

create_cluster() {
    local mon fsid uuid
    read -r mon _ < "$dir/ports"
    fsid=$(sed -n 's/^fsid = //p' "$conf")
    mkdir -p "$dir/mon" "$dir/osd" "$dir/rgw"
    ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *' > /dev/null
    ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' > /dev/null
    ceph-authtool "$dir/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' > /dev/null
    ceph-authtool "$dir/keyring" --gen-key -n client.rgw.a --cap mon 'allow rwx' --cap osd 'allow rwx' > /dev/null
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon]" "$dir/monmap" > /dev/null
    ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring" --setuser root --setgroup root
    run_daemon mon ceph-mon -c "$conf" -i a
    uuid=$(cat /proc/sys/kernel/random/uuid)
    timeout 60 ceph -c "$conf" osd new "$uuid" > /dev/null
    timeout 60 ceph -c "$conf" auth import -i "$dir/keyring" 2> /dev/null
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$uuid" --setuser root --setgroup root > "$dir/mkfs.out" 2>&1
    run_daemon osd ceph-osd -c "$conf" -i 0
    # it makes the keys itself: arguments are visible to everybody on the machine
    timeout 120 radosgw-admin -c "$conf" user create --uid=mlsuite --display-name=ml-suite > "$dir/user.json" 2> "$dir/user.log"
    python3 - "$dir" <<'PYTHON'
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
key = json.loads((folder / "user.json").read_text())["keys"][0]
port = (folder / "ports").read_text().split()[1]
answer = {"endpoint": f"http://127.0.0.1:{port}", "access_key_id": key["access_key"], "secret_access_key": key["secret_key"]}
(folder / "connection.json").write_text(json.dumps(answer) + "\n")
PYTHON
}

wait_for_gateway() {
    local port
    read -r _ port < "$dir/ports"
    for _ in $(seq 300); do
        running rgw || break
        (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && return
        sleep 0.1
    done
    die "the gateway does not answer: $(tail -n 3 "$dir/rgw.out")"
}

[ $# = 2 ] || die "usage: ci/ceph.sh up|kill|down DIR"
mkdir -p "$2"
dir=$(cd "$2" && pwd)
conf=$dir/ceph.conf
case $1 in
    up)
        install_packages
        if [ -f "$dir/connection.json" ]; then
            for name in mon osd; do
                running $name || run_daemon "$name" "ceph-$name" -c "$conf" -i "$([ $name = mon ] && echo a || echo 0)"
            done
        else
            write_configuration
            create_cluster
        fi
        running rgw || run_daemon rgw radosgw -c "$conf" -n client.rgw.a
        wait_for_gateway
        ;;
    kill) end_daemon rgw KILL ;;
    down) for name in rgw osd mon; do end_daemon "$name" TERM; done ;;
    *) die "usage: ci/ceph.sh up|kill|down DIR" ;;
esac
