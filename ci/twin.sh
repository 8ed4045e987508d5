#!/usr/bin/env bash
# The twin: four clusters with real sshd, munge and Slurm, an ops host and a fake internet, on this machine.
#
#   ci/twin.sh up [--services] [--accounting]   start what does not run
#   ci/twin.sh down [--purge]                   end what `up` started, nothing else
#   ci/twin.sh status [--json]
#   ci/twin.sh exec [USER@]HOST CMD ...         as the site's user, or root@HOST
#   ci/twin.sh cert HOST [--valid 12h]          a certificate, as the site's own command would get it
#   ci/twin.sh totp HOST [--codes 2]            what the operator's telephone shows now
#   ci/twin.sh cut HOST [link|half|node|disk|cert|clock|sessions|sshd|slurmd|slurmctld]
#   ci/twin.sh heal HOST
#
# Its folder: $ML_SUITE_TWIN, else twin/ below $ML_SUITE_HOME, else ~/.cache/ml-suite/twin. Needs root. See docs/twin.md.
source "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || die "the twin needs root: it makes namespaces, cables and firewall rules"
if [ "${1:-}" = up ]; then
    apt_need iproute2 libpam-google-authenticator munge nftables openssh-client openssh-server rsync slurm-client \
        slurmctld slurmd util-linux
    case " $* " in *" --accounting "*) apt_need mariadb-server slurmdbd ;; esac
    case " $* " in *" --services "*) apt_need ecflow-client ecflow-server ;; esac
fi
case " $* " in " cut "*" clock "*) apt_need gcc libc6-dev ;; esac
python=${ML_SUITE_PYTHON:-$ROOT/.venv/bin/python}
[ -x "$python" ] || python=$(python311)
export PYTHONPATH=$ROOT/src:$ROOT
exec "$python" -m ci.twin "$@"
