"""Where things are kept: the store (content, may be on NFS) and the run directory (node-local).

Ring 0. The only reader of the environment besides rootless.cli.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import HostUnsupported, os_error_text

_FORM = b'{"imageLayoutVersion":"1.0.0"}'
"""What `layers.store` writes; other tools may put spaces in."""
_OUR_FORM = "rootless.form"
"""What a version will add that keeps things otherwise in a store."""


class Paths:
    """The two roots of everything on disk; all other paths derive from them.

    Attributes:
        store: an OCI image layout with snapshots, containers and volumes beside its blobs.
        run: node-local directory of this user, mode 0700: holder, host facts.
        store_run: the part of `run` that belongs to this store: locks and container run files.
    """

    __slots__ = ("run", "store", "store_run")

    def __init__(self, *, store: str, run: str) -> None:
        self.store = store
        self._place_run(run)

    @property
    def containers(self) -> str:
        return os.path.join(self.store, "containers")

    @property
    def names(self) -> str:
        return os.path.join(self.store, "names")

    @property
    def volumes(self) -> str:
        return os.path.join(self.store, "volumes")

    @property
    def snapshots(self) -> str:
        return os.path.join(self.store, "snapshots")

    @property
    def locks(self) -> str:
        return os.path.join(self.store_run, "locks")

    def ensure(self) -> None:
        """Create both roots, private to the user; idempotent.

        A logout removes $XDG_RUNTIME_DIR. Who outlives it goes on in the run directory that commands choose
        from then on.

        Raises:
            HostUnsupported: a root cannot be created or is not private to this user.
        """
        _ensure_store(self.store)
        # In a store that its user has made and opened to others, these stay closed: a program in a container
        # can make its files set-id, and whoever executes one by its path here would become this user.
        for path in (self.containers, self.volumes):
            _close_to_others(path)
        if not os.path.isdir(os.path.dirname(self.run)):
            self._place_run(_find_run())
        ensure_private_directory(self.run)
        for path in (self.store_run, self.locks):
            os.makedirs(path, mode=0o700, exist_ok=True)

    def _place_run(self, run: str) -> None:
        self.run = run
        self.store_run = os.path.join(run, "store-" + _short_name(self.store))


def find_paths(root: str | None = None) -> Paths:
    """Choose the store and the run directory; changes nothing.

    Args:
        root: the --root option; else $ROOTLESS_ROOT, else $XDG_DATA_HOME/rootless.

    Raises:
        HostUnsupported: the store is of a form that this version does not know.
    """
    env = os.environ
    store = root or env.get("ROOTLESS_ROOT")
    if not store:
        data = env.get("XDG_DATA_HOME")
        if not data or not os.path.isabs(data):  # basedir spec: relative paths are invalid
            data = os.path.join(os.path.expanduser("~"), ".local", "share")
        store = os.path.join(data, "rootless")
    store = os.path.abspath(store)
    _refuse_newer(store)
    return Paths(store=store, run=_find_run())


def find_program(name: str) -> str:
    """Return the absolute path of a program on $PATH or in the system's sbin directories, "" for none."""
    places = os.environ.get("PATH", os.defpath).split(":")
    for place in (*places, "/usr/local/sbin", "/usr/sbin", "/sbin"):  # ordinary users' PATH may lack these
        path = os.path.join(place, name)
        if os.path.isabs(path) and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return ""


def ensure_private_directory(path: str) -> None:
    """Create a directory with mode 0700, or check that it is ours: no symlink, our uid, 0700.

    /tmp is shared: another user may have made the name first (attack: directory squatting).

    Raises:
        HostUnsupported: it exists and is not ours, or cannot be made.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as exc:
        raise HostUnsupported(
            f"cannot create the run directory: {os_error_text(exc)}",
            on=path,
            hint="set XDG_RUNTIME_DIR to a node-local directory that you own",
            reference="run-directory",
        ) from exc
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise HostUnsupported(
            "cannot use the run directory: it is not a private directory of this user",
            on=path,
            hint="remove it, or set XDG_RUNTIME_DIR to a directory that you own",
            reference="run-directory",
        )


def _find_run() -> str:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base):
        try:
            info = os.stat(base)
        except OSError:
            pass  # named by a login that never made it, or left by su: the fallback serves
        else:
            if info.st_uid == os.geteuid() and os.access(base, os.W_OK | os.X_OK):
                return os.path.join(base, "rootless")
    return f"/tmp/rootless-{os.geteuid()}"  # noqa: S108  checked by ensure_private_directory


def _refuse_newer(store: str) -> None:
    """Refuse a store that a newer version has marked: by the layout's version, or by a form of our own."""
    try:
        with open(os.path.join(store, "oci-layout"), "rb") as file:
            data = file.read(4096)
    except OSError:
        return  # there is none yet, or what needs it says what is wrong
    if data == _FORM:
        return
    import json  # written by another tool, or newer

    try:
        fields = json.loads(data)
        newer = fields["imageLayoutVersion"].split(".")[0] != "1" or fields.get(_OUR_FORM, 1) != 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # damaged: `system check` tells
    if newer:
        raise HostUnsupported(
            "cannot use the store: a newer version of rootless made it",
            on=store,
            hint="use that version, or another store with --root or ROOTLESS_ROOT",
            reference="newer-store",
        )


def _ensure_store(path: str) -> None:
    if os.path.isdir(path):
        return
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        os.chmod(path, 0o700)  # set-id files of images lie below: nobody else may reach them
    except OSError as exc:
        raise HostUnsupported(
            f"cannot create the store: {os_error_text(exc)}",
            on=path,
            hint="choose a writable place with --root or ROOTLESS_ROOT",
            reference="store",
        ) from exc


def _close_to_others(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError:
        return  # read-only or full: reading goes on, and what writes there says what is wrong


def _short_name(path: str) -> str:
    import zlib  # built in or small; hashlib would cost OpenSSL's start-up on the run path

    return f"{zlib.crc32(os.fsencode(path)):08x}"
