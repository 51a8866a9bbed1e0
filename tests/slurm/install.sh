#!/usr/bin/env bash
# Slurm and munge from the packages of Debian or Ubuntu; needs root. Starts nothing.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
# Packages start their services otherwise, with a configuration that is not there yet.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurm-wlm munge
