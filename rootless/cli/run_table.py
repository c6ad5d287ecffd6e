"""The option table of `run` and `create`, in groups that `exec` and `pull` share. Ring 1.

What the options mean is decided in `cli.run_options`.
"""

from __future__ import annotations

from rootless.cli import limit_options, run_unsupported
from rootless.cli.args import BOOL, INT, LIST, Command, Option

PROCESS_OPTIONS = (
    Option("--env", "-e", kind=LIST, help="Set environment variables"),
    Option("--env-file", kind=LIST, help="Read in a file of environment variables", completes="file"),
    Option("--interactive", "-i", kind=BOOL, help="Keep STDIN open even if not attached"),
    Option("--tty", "-t", kind=BOOL, help="Allocate a pseudo-TTY"),
    Option("--user", "-u", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    Option("--workdir", "-w", help="Working directory inside the container"),
    Option("--detach", "-d", kind=BOOL, help="Run in the background"),
    Option("--detach-keys", help="Override the key sequence for detaching a container"),
    Option("--privileged", kind=BOOL, help="Give extended privileges to the container"),
)
"""Shared with `exec`."""

PULL_OPTIONS = (
    Option("--platform", help="Set platform if the image has several, for example linux/arm64"),
    Option("--quiet", "-q", kind=BOOL, help="Suppress the pull output"),
    Option(
        "--tls-verify",
        kind=BOOL,
        default=True,
        help="Require HTTPS with a trusted certificate; plain HTTP is otherwise used for loopback only",
    ),
)
"""Shared with `pull`."""

IDENTITY_OPTIONS = (
    Option("--name", help="Assign a name to the container"),
    Option("--cidfile", help="Write the container ID to the file", completes="file"),
    Option("--label", "-l", kind=LIST, help="Set meta data on a container"),
    Option("--label-file", kind=LIST, help="Read in a line delimited file of labels", completes="file"),
    Option("--rm", kind=BOOL, help="Automatically remove the container and its anonymous volumes at exit"),
    Option(
        "--pull",
        default="missing",
        choices=("always", "missing", "never"),
        help='Pull image before running ("always", "missing", "never")',
    ),
)
COMMAND_OPTIONS = (
    Option("--entrypoint", help="Overwrite the default ENTRYPOINT of the image"),
    Option("--init", kind=BOOL, help="Run an init inside the container that forwards signals and reaps"),
    Option("--attach", "-a", kind=LIST, help="Attach to STDIN, STDOUT or STDERR"),
    Option("--sig-proxy", kind=BOOL, default=True, help="Proxy received signals to the process"),
    Option("--stop-signal", metavar="signal", help="Signal to stop the container"),
    Option("--stop-timeout", kind=INT, help="Timeout (in seconds) to stop a container"),
)
STORAGE_OPTIONS = (
    Option("--volume", "-v", kind=LIST, help="Bind mount a volume", completes="file"),
    Option("--mount", kind=LIST, metavar="mount", help="Attach a filesystem mount to the container"),
    Option("--tmpfs", kind=LIST, help="Mount a tmpfs directory"),
    Option(
        "--volumes-from",
        kind=LIST,
        help="Mount volumes from the specified container(s)",
        completes="containers",
    ),
    Option("--read-only", kind=BOOL, help="Mount the container's root filesystem as read only"),
    Option("--shm-size", metavar="bytes", help="Size of /dev/shm"),
    Option("--device", kind=LIST, help="Add a host device to the container", completes="file"),
    Option(
        "--storage",
        choices=("overlay", "fuse-overlayfs", "copy"),
        help="How layers are combined (overlay, fuse-overlayfs, copy) instead of the best of this host",
    ),
)
SECURITY_OPTIONS = (
    Option("--cap-add", kind=LIST, help="Add Linux capabilities"),
    Option("--cap-drop", kind=LIST, help="Drop Linux capabilities"),
    Option("--security-opt", kind=LIST, help="Security options"),
    Option("--group-add", kind=LIST, help="Add additional groups to join"),
    Option("--ulimit", kind=LIST, metavar="ulimit", help="Ulimit options"),
    Option("--ipc", help="IPC namespace to use (private, host)"),
    Option("--uts", help="UTS namespace to use (private, host)"),
    Option("--umask", help="File mode creation mask (octal)"),
)
HEALTH_OPTIONS = (
    Option("--health-cmd", help="Command to run to check health"),
    Option("--health-interval", metavar="duration", help="Time between running the check (ms|s|m|h)"),
    Option("--health-retries", kind=INT, help="Consecutive failures needed to report unhealthy"),
    Option(
        "--health-start-interval",
        metavar="duration",
        help="Time between running the check during the start period (ms|s|m|h)",
    ),
    Option(
        "--health-start-period",
        metavar="duration",
        help="Time for the container to initialize, in which failures do not count (ms|s|m|h)",
    ),
    Option("--health-timeout", metavar="duration", help="Maximum time to allow one check to run (ms|s|m|h)"),
    Option("--no-healthcheck", kind=BOOL, help="Disable any container-specified HEALTHCHECK"),
)
LOG_OPTIONS = (
    Option("--log-driver", default="json-file", help="Logging driver: json-file, k8s-file or none"),
    Option("--log-opt", kind=LIST, help="Log driver options"),
)
NETWORK_OPTIONS = (
    Option("--network", "--net", metavar="network", help="Connect a container to a network"),
    Option("--hostname", "-h", help="Container host name"),
    Option("--publish", "-p", kind=LIST, help="Publish a container's port(s) to the host"),
    Option("--publish-all", "-P", kind=BOOL, help="Publish all exposed ports to random ports"),
    Option("--expose", kind=LIST, help="Expose a port or a range of ports"),
    Option("--add-host", kind=LIST, help="Add a custom host-to-IP mapping (host:ip)"),
    Option("--dns", kind=LIST, help="Set custom DNS servers"),
    Option("--dns-search", kind=LIST, help="Set custom DNS search domains"),
    Option("--dns-option", "--dns-opt", kind=LIST, help="Set DNS options"),
)

RESTART_OPTION = Option(
    "--restart", default="no", help="Restart policy: no, on-failure[:max-retries], always, unless-stopped"
)
"""Shared with `update`."""

_RUN_ONLY = frozenset(("detach", "detach-keys", "sig-proxy"))
"""Known to `create` too, for the functions that they share, but not shown."""

TABLE = Command(
    "run",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    options=PROCESS_OPTIONS
    + PULL_OPTIONS
    + IDENTITY_OPTIONS
    + COMMAND_OPTIONS
    + HEALTH_OPTIONS
    + LOG_OPTIONS
    + limit_options.OPTIONS
    + STORAGE_OPTIONS
    + SECURITY_OPTIONS
    + NETWORK_OPTIONS
    + (RESTART_OPTION,)
    + run_unsupported.OPTIONS,
    min_positionals=1,
    interspersed=False,
    completes="images",
)

CREATE_TABLE = Command(
    "create",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    options=tuple(option.hide() if option.key in _RUN_ONLY else option for option in TABLE.options),
    min_positionals=1,
    interspersed=False,
    completes="images",
)
