"""The command line: one verb, one module. COMMANDS maps a verb to the module that runs it, GROUPS what
`rootless container ls` and its like mean."""

COMMANDS = {
    "completion": ("rootless.cli.completion", "Generate the completion script for a shell"),
    "doctor": (
        "rootless.cli.doctor",
        "Say what this host can do and what an administrator could change",
    ),
    "events": ("rootless.cli.events", "Get real time events from the store"),
    "exec": ("rootless.cli.exec", "Execute a command in a running container"),
    "images": ("rootless.cli.images", "List images"),
    "info": ("rootless.cli.info", "Display system-wide information"),
    "inspect": ("rootless.cli.inspect", "Return low-level information on containers and images"),
    "logs": ("rootless.cli.logs", "Fetch the logs of a container"),
    "ps": ("rootless.cli.ps", "List containers"),
    "pull": ("rootless.cli.pull", "Download an image from a registry"),
    "rm": ("rootless.cli.rm", "Remove one or more containers"),
    "rmi": ("rootless.cli.rmi", "Remove one or more images"),
    "run": ("rootless.cli.run", "Create and run a new container from an image"),
    "stop": ("rootless.cli.stop", "Stop one or more running containers"),
    "unshare": ("rootless.cli.unshare", "Run a command in the user namespace of the containers"),
    "version": ("rootless.cli.version", "Show the version"),
}
"""verb → (module, one-line description). A module has TABLE (cli.args.Command) and main(argv) -> int."""

_CONTAINER_VERBS = (
    "attach", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port", "rename", "restart",
    "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
)  # fmt: skip

GROUPS = {
    "container": (
        "Manage containers",
        {
            **{verb: verb for verb in _CONTAINER_VERBS if verb in COMMANDS},
            "inspect": "inspect --type container",
            "ls": "ps",
            "list": "ps",
            "ps": "ps",
        },
    ),
    "image": (
        "Manage images",
        {
            "inspect": "inspect --type image",
            "ls": "images",
            "list": "images",
            "pull": "pull",
            "rm": "rmi",
            "remove": "rmi",
        },
    ),
    "system": ("Manage the engine", {"events": "events", "info": "info"}),
}
"""group → (one-line description, sub-command → the verb that it is, with the words that it adds)."""
