"""Run OCI containers without root: a command line, and an interface for Python programs (docs/python.md).

Importing the package costs nothing: what it offers is imported when it is first used. Type checkers read
`__init__.pyi`.
"""

__version__ = "0.1.0"

_PLACES = {
    "rootless.errors": (
        "HostUnsupported",
        "ImageError",
        "InternalError",
        "NotFound",
        "RegistryError",
        "RootlessError",
        "RuntimeSetupError",
        "StateConflict",
        "UsageError",
    ),
    "rootless.interface.container": ("Container", "LogEntry", "Usage"),
    "rootless.interface.engine": ("Containers", "Engine", "Event", "open_engine"),
    "rootless.interface.images": ("Image", "Images", "Pushed"),
    "rootless.interface.process": ("CommandFailed", "Completed", "Process"),
}

__all__ = [name for names in _PLACES.values() for name in names]


def __getattr__(name: str) -> object:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(__import__(place, fromlist=(name,)), name)
    raise AttributeError(f"module 'rootless' has no attribute {name!r}")
