#!/bin/sh
# mmdebstrap calls this before the packages go in: Debian's postgresql would otherwise make a cluster of its own.
set -eu
install -d "$1/etc/postgresql-common"
echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
