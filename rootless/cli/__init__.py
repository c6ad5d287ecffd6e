"""The command line: one verb, one module. COMMANDS maps a verb to the module that runs it, GROUPS what
`rootless container ls` and its like mean."""

COMMANDS = {
    "attach": (
        "rootless.cli.attach",
        "Attach local standard input, output, and error streams to a running container",
    ),
    "commit": ("rootless.cli.commit", "Create a new image from a container's changes"),
    "completion": ("rootless.cli.completion", "Generate the completion script for a shell"),
    "copy": (
        "rootless.cli.copy",
        "Copy an image between registries, directories and archives without unpacking it",
    ),
    "cp": ("rootless.cli.cp", "Copy files/folders between a container and the local filesystem"),
    "create": ("rootless.cli.create", "Create a new container"),
    "container prune": ("rootless.cli.container_prune", "Remove all stopped containers"),
    "diff": ("rootless.cli.diff", "Inspect changes to files or directories on a container's filesystem"),
    "doctor": (
        "rootless.cli.doctor",
        "Say what this host can do and what an administrator could change",
    ),
    "events": ("rootless.cli.events", "Get real time events from the store"),
    "exec": ("rootless.cli.exec", "Execute a command in a running container"),
    "export": ("rootless.cli.export", "Export a container's filesystem as a tar archive"),
    "generate crontab": (
        "rootless.cli.generate_crontab",
        "Print a crontab line that starts containers at boot",
    ),
    "generate systemd": (
        "rootless.cli.generate_systemd",
        "Print a systemd user unit that starts containers at boot",
    ),
    "history": ("rootless.cli.history", "Show the history of an image"),
    "image prune": ("rootless.cli.image_prune", "Remove unused images"),
    "images": ("rootless.cli.images", "List images"),
    "import": (
        "rootless.cli.import_",
        "Import the contents from a tarball to create a filesystem image",
    ),
    "info": ("rootless.cli.info", "Display system-wide information"),
    "inspect": ("rootless.cli.inspect", "Return low-level information on containers, images and volumes"),
    "kill": ("rootless.cli.kill", "Kill one or more running containers"),
    "load": ("rootless.cli.load", "Load images from a tar archive or STDIN"),
    "login": ("rootless.cli.login", "Authenticate to a registry"),
    "logout": ("rootless.cli.logout", "Log out from a registry"),
    "logs": ("rootless.cli.logs", "Fetch the logs of a container"),
    "pause": ("rootless.cli.pause", "Pause all processes within one or more containers"),
    "port": ("rootless.cli.port", "List port mappings or a specific mapping for the container"),
    "ps": ("rootless.cli.ps", "List containers"),
    "pull": ("rootless.cli.pull", "Download an image from a registry"),
    "push": ("rootless.cli.push", "Upload an image to a registry"),
    "registry gc": (
        "rootless.cli.registry_gc",
        "Delete the blobs that no manifest of a registry refers to",
    ),
    "registry serve": ("rootless.cli.registry_serve", "Serve a registry"),
    "rename": ("rootless.cli.rename", "Rename a container"),
    "restart": ("rootless.cli.restart", "Restart one or more containers"),
    "rm": ("rootless.cli.rm", "Remove one or more containers"),
    "rmi": ("rootless.cli.rmi", "Remove one or more images"),
    "run": ("rootless.cli.run", "Create and run a new container from an image"),
    "save": (
        "rootless.cli.save",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
    ),
    "sign": ("rootless.cli.sign", "Sign an image in a registry with a private key"),
    "search": ("rootless.cli.search", "Search registries for images"),
    "start": ("rootless.cli.start", "Start one or more stopped containers"),
    "stats": ("rootless.cli.stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": ("rootless.cli.stop", "Stop one or more running containers"),
    "system check": (
        "rootless.cli.system_check",
        "Check that blobs, images, layers and containers are whole",
    ),
    "system df": ("rootless.cli.system_df", "Show disk usage"),
    "system prune": ("rootless.cli.system_prune", "Remove unused data"),
    "tag": ("rootless.cli.tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": ("rootless.cli.top", "Display the running processes of a container"),
    "trust generate-key": (
        "rootless.cli.trust_generate_key",
        "Make a pair of keys for signing images, in the form of cosign",
    ),
    "unpause": ("rootless.cli.unpause", "Unpause all processes within one or more containers"),
    "unshare": ("rootless.cli.unshare", "Run a command in the user namespace of the containers"),
    "untag": ("rootless.cli.untag", "Remove names from an image; the image stays"),
    "update": ("rootless.cli.update", "Update configuration of one or more containers"),
    "verify": ("rootless.cli.verify", "Verify the signature of an image in a registry"),
    "version": ("rootless.cli.version", "Show the version"),
    "volume create": ("rootless.cli.volume_create", "Create a volume"),
    "volume ls": ("rootless.cli.volume_ls", "List volumes"),
    "volume prune": ("rootless.cli.volume_prune", "Remove unused local volumes"),
    "volume rm": ("rootless.cli.volume_rm", "Remove one or more volumes"),
    "wait": ("rootless.cli.wait", "Block until one or more containers stop, then print their exit codes"),
}
"""verb → (module, one-line description). A module has TABLE (cli.args.Command) and main(argv) -> int."""

_CONTAINER_VERBS = (
    "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port", "rename",
    "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
)  # fmt: skip

GROUPS = {
    "container": (
        "Manage containers",
        {
            **{verb: verb for verb in _CONTAINER_VERBS},
            "inspect": "inspect --type container",
            "ls": "ps",
            "list": "ps",
            "ps": "ps",
            "prune": "container prune",
            "remove": "rm",
        },
    ),
    "generate": (
        "Print what starts containers at boot",
        {"crontab": "generate crontab", "systemd": "generate systemd"},
    ),
    "image": (
        "Manage images",
        {
            "history": "history",
            "import": "import",
            "inspect": "inspect --type image",
            "load": "load",
            "ls": "images",
            "list": "images",
            "prune": "image prune",
            "pull": "pull",
            "push": "push",
            "rm": "rmi",
            "remove": "rmi",
            "save": "save",
            "sign": "sign",
            "tag": "tag",
            "untag": "untag",
            "verify": "verify",
        },
    ),
    "registry": (
        "Manage a registry of one's own",
        {"gc": "registry gc", "serve": "registry serve"},
    ),
    "system": (
        "Manage the engine",
        {
            "check": "system check",
            "df": "system df",
            "events": "events",
            "info": "info",
            "prune": "system prune",
        },
    ),
    "trust": ("Manage keys for signing images", {"generate-key": "trust generate-key"}),
    "volume": (
        "Manage volumes",
        {
            "create": "volume create",
            "inspect": "inspect --type volume",
            "ls": "volume ls",
            "list": "volume ls",
            "prune": "volume prune",
            "rm": "volume rm",
            "remove": "volume rm",
        },
    ),
}
"""group → (one-line description, sub-command → the verb that it is, with the words that it adds)."""
