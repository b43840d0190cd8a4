#!/bin/bash
# Ceph's S3 gateway on a cluster of its own, in a folder and in memory: for tests only. Needs root and Debian's ceph-mon,
# ceph-osd, ceph-common and radosgw.
#   scripts/ceph.sh start DIR PORT MONITOR_PORT   user autodj, secret autodj-secret
#   scripts/ceph.sh stop DIR
set -eu
dir=$(realpath -m "$2")
if [ "$1" = stop ]; then
  for file in "$dir"/run/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  exit 0
fi
port=$3 monport=$4
mkdir -p $dir/{mon,osd,run,log}
fsid=$(cat /proc/sys/kernel/random/uuid)
cat > $dir/ceph.conf <<C
[global]
fsid = $fsid
mon_host = v1:127.0.0.1:$monport
ms_bind_msgr2 = false
ms_bind_ipv4 = true
public_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $dir/keyring
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
run_dir = $dir/run
log_file = $dir/log/\$name.log
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
osd_objectstore = memstore
memstore_device_bytes = 4294967296
mon_data = $dir/mon/\$id
osd_data = $dir/osd/\$id
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_data = $dir/rgw
rgw_crypt_require_ssl = false
C
export CEPH_CONF=$dir/ceph.conf
ceph-authtool --create-keyring $dir/keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool $dir/keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
ceph-authtool $dir/keyring --gen-key -n client.rgw --cap mon 'allow *' --cap osd 'allow *'
ceph-authtool $dir/keyring --gen-key -n osd.0 --cap mon 'allow *' --cap osd 'allow *'
monmaptool --create --clobber --fsid $fsid --addv a "[v1:127.0.0.1:$monport]" $dir/monmap
ceph-mon --mkfs -i a --keyring $dir/keyring --monmap $dir/monmap --mon-data $dir/mon/a -c $dir/ceph.conf
ceph-mon -i a -c $dir/ceph.conf
timeout 30 ceph -c $dir/ceph.conf -s
uuid=$(cat /proc/sys/kernel/random/uuid)
timeout 30 ceph -c $dir/ceph.conf osd new $uuid

mkdir -p $dir/osd/0
ceph-osd -i 0 -c $dir/ceph.conf --mkfs --osd-uuid $uuid
ceph-osd -i 0 -c $dir/ceph.conf
timeout 30 ceph -c $dir/ceph.conf -s
mkdir -p $dir/rgw
timeout 120 radosgw-admin -c $dir/ceph.conf user create --uid=autodj --display-name=autodj --access-key=autodj --secret=autodj-secret
radosgw -c $dir/ceph.conf -n client.rgw
