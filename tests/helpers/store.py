"""A store with containers and images that were made by hand, for commands that only read."""

from __future__ import annotations

import hashlib
import json
import os

from layers.manifest import Descriptor
from layers.store.directory import ImageLayout
from rootless._entry import GlobalOptions
from rootless.engine import records
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.model.spec import ContainerSpec, Process
from rootless.paths import find_paths

SECOND = 1_000_000_000


class Store:
    """A store in a temporary directory; `options` make commands use it."""

    def __init__(self, root: str) -> None:
        self.options = GlobalOptions(root=root)
        self.paths = find_paths(root)
        self.paths.ensure()

    def add(self, name: str, *, id: str = "", state: dict | None = None, **changes) -> records.Container:
        """Record a container; `state` replaces fields of its state."""
        fields = {
            "id": id or name.encode().hex().ljust(64, "0")[:64],
            "name": name,
            "image": "debian",
            "image_id": "sha256:" + "a" * 64,
            "layers": (),
            "process": Process(argv=("sh", "-c", "sleep 1")),
            "entrypoint_length": 1,
            "created_ns": SECOND,
        }
        container = records.create(self.paths, ContainerSpec(**(fields | changes)), starting=True)
        if state:
            records.save_state(container, **state)
        return container

    def running(self, name: str, *, pid: int, **changes) -> records.Container:
        """Record a container whose first process, and monitor, is an existing process."""
        start = procfs.start_time(pid)
        state = {
            "status": lifecycle.RUNNING,
            "pid": pid,
            "pid_start": start,
            "monitor_pid": pid,
            "monitor_start": start,
            "started_ns": SECOND,
        }
        return self.add(name, state=state | changes.pop("state", {}), **changes)

    def add_image(self, *names: str, key: str = "") -> tuple[str, str]:
        """Put an image with one (empty) layer into the store; return its id and its manifest's digest.

        Args:
            names: canonical references; the first has a repo digest.
            key: of the id mapping for which a snapshot of the layer is made, "" for none.
        """
        layout = ImageLayout(self.paths.store, locks=self.paths.locks)
        layout.ensure()
        layer = layout.add_blob(b"x" * 100)
        diff_id = hashlib.sha256(b"x").hexdigest()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["bash"], "Labels": {"a": "1"}},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id]},
        }
        data = json.dumps(config).encode()
        image_id = layout.add_blob(data)
        oci = "application/vnd.oci.image."
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci + "manifest.v1+json",
            "config": {"mediaType": oci + "config.v1+json", "digest": image_id, "size": len(data)},
            "layers": [{"mediaType": oci + "layer.v1.tar+gzip", "digest": layer, "size": 100}],
        }
        data = json.dumps(manifest).encode()
        digest = layout.add_blob(data)
        descriptor = Descriptor(media_type=oci + "manifest.v1+json", digest=digest, size=len(data))
        for index, name in enumerate(names):
            layout.tag(name, descriptor, {} if index else {"io.rootless.repo-digest": str(digest)})
        if key:
            os.makedirs(os.path.join(self.paths.snapshots, key, diff_id))
        return str(image_id), str(digest)
