from rootless.errors import (
    HostUnsupported,
    ImageError,
    InternalError,
    NotFound,
    RegistryError,
    RootlessError,
    RuntimeSetupError,
    StateConflict,
    UsageError,
)
from rootless.interface.container import Container, LogEntry, Usage
from rootless.interface.engine import Containers, Engine, Event, open_engine
from rootless.interface.images import Image, Images, Pushed
from rootless.interface.process import CommandFailed, Completed, Process

__version__: str

__all__ = [
    "CommandFailed",
    "Completed",
    "Container",
    "Containers",
    "Engine",
    "Event",
    "HostUnsupported",
    "Image",
    "ImageError",
    "Images",
    "InternalError",
    "LogEntry",
    "NotFound",
    "Process",
    "Pushed",
    "RegistryError",
    "RootlessError",
    "RuntimeSetupError",
    "StateConflict",
    "Usage",
    "UsageError",
    "open_engine",
]
