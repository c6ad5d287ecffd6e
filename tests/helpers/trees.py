"""Describe a directory tree completely, so that two trees can be compared with `==`.

Run as a program inside a user namespace it prints the description as JSON:
    python -m tests.helpers.trees list DIRECTORY
    python -m tests.helpers.trees overlay MOUNTPOINT EMPTY LAYER…     (topmost first; mounts them first)
    python -m tests.helpers.trees flat DIRECTORY LAYER…               (bottom first; copies them first)
Names and values become str with surrogateescape or hexadecimal; paths longer than PATH_MAX are no problem.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from typing import Any

Tree = dict[str, dict[str, Any]]
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def read_tree(path: str | os.PathLike[str]) -> Tree:
    """Return every entry below a directory, the directory itself as "."."""
    top = os.open(path, _DIRECTORY)
    tree: Tree = {".": _describe(os.fstat(top), fd=top)}
    first: dict[tuple[int, int], str] = {}
    todo = [(top, "")]
    while todo:
        fd, prefix = todo.pop()
        for name in sorted(os.listdir(fd)):
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            shown = prefix + name
            tree[shown] = _describe_entry(fd, name, info)
            if stat.S_ISDIR(info.st_mode):
                todo.append((os.open(name, _DIRECTORY, dir_fd=fd), shown + "/"))
            elif info.st_nlink > 1:
                tree[shown]["inode"] = (info.st_dev, info.st_ino)
        os.close(fd)
    for shown in sorted(tree):
        inode = tree[shown].pop("inode", None)
        if inode is not None:
            tree[shown]["same_as"] = first.setdefault(inode, shown)
    for name in {entry["same_as"] for entry in tree.values() if "same_as" in entry}:
        if sum(entry.get("same_as") == name for entry in tree.values()) == 1:
            del tree[name]["same_as"]  # its other names lie elsewhere
    return tree


def differences(left: Tree, right: Tree) -> list[str]:
    """Return one line for each entry and property in which two trees differ."""
    lines = [f"only left: {name!r}" for name in sorted(left.keys() - right.keys())]
    lines += [f"only right: {name!r}" for name in sorted(right.keys() - left.keys())]
    for name in sorted(left.keys() & right.keys()):
        one, two = left[name], right[name]
        lines += [
            f"{name[:300]!r} {key}: {one.get(key)!r} | {two.get(key)!r}"
            for key in sorted(one.keys() | two.keys())
            if one.get(key) != two.get(key)
        ]
    return lines


def _describe_entry(dir_fd: int, name: str, info: os.stat_result) -> dict[str, Any]:
    if stat.S_ISLNK(info.st_mode):
        return _describe(info) | {"target": os.readlink(name, dir_fd=dir_fd)}
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return _describe(info) | {"device": info.st_rdev}
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        return _describe(info, fd=fd)
    finally:
        os.close(fd)


def _describe(info: os.stat_result, *, fd: int = -1) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mode": oct(info.st_mode),
        "owner": f"{info.st_uid}:{info.st_gid}",
        "mtime_ns": info.st_mtime_ns,
    }
    if fd >= 0:
        entry["xattrs"] = {name: os.getxattr(fd, name).hex() for name in sorted(os.listxattr(fd))}
    if fd >= 0 and stat.S_ISREG(info.st_mode):
        digest = hashlib.sha256()
        while data := os.read(fd, 1 << 20):
            digest.update(data)
        entry |= {"size": info.st_size, "sha256": digest.hexdigest()}
    return entry


def main(argv: list[str]) -> None:
    kind, target, *layers = argv
    if kind == "overlay":
        options = "userxattr,lowerdir=" + ":".join([*layers[1:], layers[0]])
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, target], check=True)
    elif kind == "flat":
        from layers.flatten import flatten

        os.umask(0)
        fd = os.open(target, _DIRECTORY)
        flatten(layers, fd)
    json.dump(read_tree(target), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
