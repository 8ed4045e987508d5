"""The sites' ssh servers, each with its own way in, and the user's ssh settings on the ops host."""

from __future__ import annotations

import signal

from ci.twin import auth
from ci.twin.hosts import Host, wait_for
from ci.twin.plan import OPS, SITES, Node, Site, nodes_of

_COMMON = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM yes
PermitRootLogin no
PasswordAuthentication no
PubkeyAuthentication yes
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
LoginGraceTime 120
MaxStartups 100
ClientAliveInterval 30
ClientAliveCountMax 4
GatewayPorts no
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""
_WAY_IN = {
    "key": "KbdInteractiveAuthentication no\nAuthenticationMethods publickey\n",
    # no authorized_keys at all: only certificates of the site's authority
    "certificate": "KbdInteractiveAuthentication no\nAuthenticationMethods publickey\n"
    "AuthorizedKeysFile none\nTrustedUserCAKeys /etc/ssh/authority.pub\n",
    "totp": "KbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive:pam\n",
}
SESSIONS = 10
"""Over one connection, as OpenSSH has it."""
PROMPT = "JSC TOTP Verification code: "
_PAM = """\
auth {auth}
account required pam_unix.so
session required pam_permit.so
session required pam_env.so
session required pam_limits.so
password required pam_deny.so
"""
# the brackets are needed: without them the module refuses a prompt with spaces, silently
_ONE_TIME = (
    "required pam_google_authenticator.so secret=/etc/totp/${USER} user=root no_increment_hotp "
    f"[authtok_prompt={PROMPT}]"
)
# a data mover: copying and nothing else; it does not know the user's variables
_ONLY_COPIES = """\
#!/bin/bash
unset HOME SCRATCH WORK
set -f
case $SSH_ORIGINAL_COMMAND in
    'rsync --server '*|'scp -t '*|'scp -f '*|'scp -r -t '*|'scp -r -f '*) exec $SSH_ORIGINAL_COMMAND ;;
    /usr/lib/openssh/sftp-server) exec /usr/lib/openssh/sftp-server ;;
esac
echo "This machine only copies files: scp, rsync, sftp." >&2
exit 1
"""


def doors() -> list[Node]:
    """All hosts with an ssh server."""
    return [node for site in SITES for node in nodes_of(site) if node.role in ("login", "transfer")]


def settings_of(node: Node, site: Site, sessions: int = SESSIONS) -> str:
    """sshd_config of a host. Pure."""
    forwarding = "yes" if site.forwarding else "no"
    text = f"{_COMMON}MaxSessions {sessions}\n{_WAY_IN[site.auth]}"
    text += f"AllowTcpForwarding {forwarding}\nAllowStreamLocalForwarding {forwarding}\n"
    if node.role == "transfer":
        text = text.replace("internal-sftp", "/usr/lib/openssh/sftp-server")
        text += "PermitTTY no\nForceCommand /etc/ssh/only_copies\n"
    return text


def configure(host: Host, site: Site) -> None:
    """Write the settings of a site's ssh server."""
    key = auth.host_key(host.folder, host.node)
    host.put("/etc/ssh/ssh_host_ed25519_key", key.read_bytes(), 0o600)
    host.put("/etc/ssh/ssh_host_ed25519_key.pub", key.with_name(f"{key.name}.pub").read_bytes())
    host.put("/etc/ssh/authority.pub", (host.folder.secrets / f"{auth.AUTHORITY}.pub").read_bytes())
    host.put("/etc/ssh/twin_sshd_config", settings_of(host.node, site))
    host.put("/etc/ssh/only_copies", _ONLY_COPIES, 0o755)
    way = _ONE_TIME if site.auth == "totp" else "required pam_deny.so"
    host.put("/etc/pam.d/sshd", _PAM.format(auth=way))
    owner = (site.uid, site.uid)
    if site.auth == "totp":
        options = '" RATE_LIMIT 6 60\n" WINDOW_SIZE 3\n" DISALLOW_REUSE\n" TOTP_AUTH\n'
        host.put(f"/etc/totp/{site.user}", f"{auth.seed(host.folder, site)}\n{options}", 0o400)
    if site.auth != "certificate":
        # this site demands a from= clause on every key
        clause = f'from="{OPS.address}" ' if site.auth == "totp" else ""
        public = (host.folder.secrets / f"{auth.KEY}.pub").read_text()
        host.put(f"/home/{site.user}/.ssh/authorized_keys", clause + public, 0o600, owner)


def start(host: Host) -> None:
    """Start a site's ssh server and wait until it listens."""
    if not host.runs("sshd"):
        host.start_daemon("sshd", "/usr/sbin/sshd -D -e -f /etc/ssh/twin_sshd_config")
    wait_for(lambda: _listens(host), lambda: f"{host.node.name}: no ssh server")


def stop(host: Host) -> None:
    """End the server; open connections have processes of their own, which go on."""
    host.stop_daemon("sshd")


def limit_sessions(host: Host, site: Site, sessions: int) -> None:
    """Let connections that are opened from now on have so many sessions at once."""
    host.put("/etc/ssh/twin_sshd_config", settings_of(host.node, site, sessions))
    before = _beginnings(host)
    host.signal_daemon("sshd", signal.SIGHUP)
    wait_for(lambda: _beginnings(host) > before, lambda: f"{host.node.name}: sshd does not reload")


def _listens(host: Host) -> bool:
    return "22 " in host.must("ss -Hltn 'sport = :22'")


def _beginnings(host: Host) -> int:
    """How often the server began to listen."""
    return host.must("cat /var/log/twin-sshd.log").count("Server listening on 0.0.0.0")


def configure_ops(host: Host) -> None:
    """Give the ops host's user a key, the sites' host keys and settings as an operator would write them."""
    user, uid = host.node.account
    home, owner = f"/home/{user}/.ssh", (uid, uid)
    host.put(f"{home}/{auth.KEY}", (host.folder.secrets / auth.KEY).read_bytes(), 0o600, owner)
    host.put(f"{home}/{auth.KEY}.pub", (host.folder.secrets / f"{auth.KEY}.pub").read_bytes(), 0o644, owner)
    known = ""
    for node in doors():
        public = auth.host_key(host.folder, node).with_name(f"host-{node.name}.pub").read_text()
        known += f"{','.join((node.name, node.address, *node.names))} {public}"
    host.put(f"{home}/known_hosts", known, 0o600, owner)
    host.put(f"{home}/config", client_settings(), 0o600, owner)


def client_settings() -> str:
    """~/.ssh/config of an operator: user and key of each site, nothing else. Pure."""
    lines = ["Host *", "  StrictHostKeyChecking yes", "  ConnectTimeout 10", ""]
    for site in SITES:
        login, *others = [node for node in nodes_of(site) if node.role in ("login", "transfer")]
        names = [
            site.name,
            f"{site.name}-transfer",
            login.name,
            *login.names,
            *(n for o in others for n in (o.name, *o.names)),
        ]
        lines += [f"Host {' '.join(names)}", f"  User {site.user}", "  IdentitiesOnly yes"]
        key = f"~/.ssh/{auth.KEY}"
        if site.auth == "certificate":
            key = f"~/.ssh/{site.name}_{auth.KEY}"
            lines.append(f"  CertificateFile {key}-cert.pub")
        lines += [f"  IdentityFile {key}", ""]
        transfer = others[0] if others else login
        lines += [f"Host {site.name}", f"  HostName {login.name}", ""]
        lines += [f"Host {site.name}-transfer", f"  HostName {transfer.name}", ""]
    return "\n".join(lines)
