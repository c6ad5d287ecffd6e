"""What `run` and `create` share: from a command line to a recorded container. Ring 1 for a local image."""

from __future__ import annotations

import os
import sys
import time

from rootless.cli import run_options
from rootless.errors import EXIT_ENGINE, EXIT_SIGNAL_BASE, NotFound, StateConflict, UsageError, os_error_text
from rootless.model.names import find_container_id, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.platforms import Platform
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.image_lookup import LocalImage
    from rootless.model.spec import ContainerSpec, Mount
    from rootless.paths import Paths

_NAME_ATTEMPTS = 10
"""Generated names are drawn from some 2,500."""


def create(
    paths: Paths, parsed: Parsed, options: GlobalOptions, *, mapping_key: str, starting: bool
) -> ContainerSpec:
    """Record the container that a command line asks for, pulling its image if need be.

    Args:
        mapping_key: of the id mapping under which its image must be unpacked.
        starting: see `records.create`.

    Raises:
        RootlessError: nothing was recorded.
    """
    from rootless.cli import foreground
    from rootless.engine import image_lookup, records, volumes

    with image_lookup.keep_images(paths):  # until the record says that this one is in use
        image = _ensure_image(paths, parsed, options, mapping_key=mapping_key)
        if not parsed.given("platform"):
            _warn_of_platform(image.config.platform)
        for attempt in range(_NAME_ATTEMPTS):
            spec = _make_spec(paths, parsed, image)
            spec = spec.replace(process=foreground.with_window_size(spec.process))
            try:
                records.create(paths, spec, starting=starting)
                break
            except StateConflict:  # another start has drawn the same name since we looked
                if parsed.given("name") or attempt + 1 == _NAME_ATTEMPTS:
                    raise
    volumes.ensure_all(paths, spec)
    if parsed.given("cidfile"):
        _write_cidfile(parsed.text("cidfile"), spec.id)
    return spec


def _ensure_image(paths: Paths, parsed: Parsed, options: GlobalOptions, *, mapping_key: str) -> LocalImage:
    """Find the image, pulling it as --pull says.

    Raises:
        NotFound: it is not here and must not be pulled.
    """
    from rootless.engine import image_lookup

    name, policy = parsed.positionals[0], parsed.text("pull")
    image, source = image_lookup.plan_pull(paths, name, policy=policy, snapshots_key=mapping_key)
    if image is not None and source != name:
        if source:
            _pull_in_child(options, source, "--quiet", silent=True)
        return image
    if image is not None:
        print(f"Layers of image '{name}' are lost, pulling it again", file=sys.stderr)
    elif policy != "always":
        print(f"Unable to find image '{name}' locally", file=sys.stderr)
    words = [f"--tls-verify={parsed.text('tls-verify').lower()}"] if parsed.given("tls-verify") else []
    words += [f"--platform={parsed.text('platform')}"] if parsed.given("platform") else []
    words += ["--quiet"] if parsed.flag("quiet") else []
    image_id = _pull_in_child(options, name, *words)
    try:
        return image_lookup.find_image(paths, name, snapshots_key=mapping_key)
    except NotFound:  # `docker-archive:…`: a place that the image came from
        return image_lookup.find_image(paths, image_id, snapshots_key=mapping_key)


def _warn_of_platform(platform: Platform) -> None:
    """Say in Docker's words why the image may not run here."""
    from layers import platforms
    from rootless.cli import foreground

    if not platforms.is_native(platform):
        here = platforms.Platform("linux", os.uname().machine)
        foreground.notice(
            f"The requested image's platform ({platform}) does not match the detected host platform ({here})"
            " and no specific platform was requested",
            level="WARNING",
        )


def _pull_in_child(options: GlobalOptions, name: str, *words: str, silent: bool = False) -> str:
    """Pull in a process of its own: it may start threads, with which no namespace could be entered here.

    What it prints goes to stderr, or nowhere: only the container writes to our stdout.

    Returns:
        the image's id.
    """
    sys.stdout.flush()
    receiver, sender = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = EXIT_ENGINE
        try:
            from rootless import _entry

            os.dup2(os.open(os.devnull, os.O_WRONLY) if silent else 2, 1)
            root = [f"--root={options.root}"] if options.root else []
            code = _entry.main([*root, "pull", f"--id-fd={sender}", *words, "--", name])
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(sender)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise SystemExit(EXIT_SIGNAL_BASE - code if code < 0 else code if code > 128 else EXIT_ENGINE)
    with open(receiver, encoding="ascii") as file:
        return file.readline().strip()  # not to the end: who syncs the disk in the background holds it open


def _make_spec(paths: Paths, parsed: Parsed, image: LocalImage) -> ContainerSpec:
    from rootless.engine import records

    def find_container(query: str) -> str:
        return find_container_id(query, records.read_names(paths), records.list_ids(paths))

    def hostname_of(container_id: str) -> str:
        return records.load(paths, container_id).spec.hostname

    def mounts_of(container_id: str) -> tuple[Mount, ...]:
        return records.load(paths, container_id).spec.mounts

    return run_options.spec_from_options(
        parsed,
        image=parsed.positionals[0],
        image_config=image.config,
        image_id=image.image_id,
        layers=tuple(image.chain_ids),
        id=new_id(),
        name=parsed.text("name") or records.unused_name(paths),
        caller=run_options.Caller.here(
            find_container=find_container, hostname_of=hostname_of, mounts_of=mounts_of
        ),
        now_ns=time.time_ns(),
    )


def _write_cidfile(path: str, container_id: str) -> None:
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(container_id)
    except FileExistsError as exc:
        raise StateConflict(
            "container ID file found, make sure the other container isn't running or delete it", on=path
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot write the container ID file: {os_error_text(exc)}", on=path) from exc
