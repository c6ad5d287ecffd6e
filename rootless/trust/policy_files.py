"""The text of policies: our own policy.toml, and podman's policy.json. Pure.

default = "reject"

[images]
"docker.io/library" = "accept"
"registry.example.com/team" = { signed = ["team.pub", "old.pub"] }
"mirror.example.com/team" = { signed = "team.pub", repository = "registry.example.com/team/app" }
"""

from __future__ import annotations

import base64
import binascii
import os

from layers import document
from layers.errors import LayersError
from layers.reference import Reference
from rootless.trust import identity
from rootless.trust.errors import BadPolicy
from rootless.trust.identity import Identity
from rootless.trust.policy import ACCEPT, REJECT, Policy, Signed, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 1 << 20
_WORDS = {"accept": ACCEPT, "reject": REJECT}
_TAGS = {"tag": identity.EXACT_OR_DIGEST, "repository": identity.REPOSITORY}


def parse_toml(text: str, path: str) -> Policy:
    """Read policy.toml; paths of keys are relative to its directory.

    Raises:
        BadPolicy: the message names the place.
    """
    import tomllib  # only who has a policy pays for it

    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise _bad(path, str(exc)[:200] or "it is nested too deeply") from None
    if unknown := found.keys() - {"default", "images"}:
        raise _bad(path, f"`{min(unknown)}` is neither `default` nor `images`")
    if "default" not in found:
        raise _bad(path, '`default` is missing: "accept" or "reject"')
    images = found.get("images", {})
    if not isinstance(images, dict):
        raise _bad(path, "`images` is not a table")
    return Policy(
        path,
        default=_verdict(found["default"], "default", path),
        scopes={
            _scope(scope, path): _verdict(value, f'images."{scope}"', path) for scope, value in images.items()
        },
    )


def _verdict(value: Any, where: str, path: str) -> Verdict:
    if isinstance(value, str):
        if value in _WORDS:
            return _WORDS[value]
        raise _bad(path, f"`{where}` is {value!r:.80}: accept, reject and {{ signed = … }} are possible")
    if not isinstance(value, dict) or "signed" not in value:
        raise _bad(path, f"`{where}` is neither accept nor reject, and has no `signed`")
    if unknown := value.keys() - {"signed", "repository", "match"}:
        raise _bad(path, f"`{where}.{min(unknown)}` is unknown: signed, match and repository are possible")
    keys = [value["signed"]] if isinstance(value["signed"], str) else value["signed"]
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
        raise _bad(path, f"`{where}.signed` is neither a path of a public key nor a list of some")
    directory = os.path.dirname(path)
    files = [os.path.normpath(os.path.join(directory, key)) for key in keys]
    return Verdict(Signed(*files, identity=_toml_identity(value, where, path)))


def _toml_identity(value: dict[str, Any], where: str, path: str) -> Identity:
    match, other = value.get("match"), value.get("repository")
    if match is not None and other is not None:
        raise _bad(path, f"`{where}` has both `match` and `repository`")
    if other is not None:
        if not isinstance(other, str):
            raise _bad(path, f"`{where}.repository` is not a name")
        return Identity(identity.OTHER_REPOSITORY, value=_name(other, path).repository)
    if match is None:
        return Identity()
    if not isinstance(match, str) or match not in _TAGS:
        raise _bad(path, f"`{where}.match` is {match!r:.80}: tag and repository are possible")
    return Identity(_TAGS[match])


def parse_json(data: bytes, path: str) -> Policy:
    """Read a policy.json (containers-policy.json(5)): its default, and the scopes of `docker`.

    What we cannot verify (GPG, Fulcio, Rekor) is no error, but refuses the images of its scope.

    Raises:
        BadPolicy: the message names the place.
    """
    try:
        found = document.decode(data, "policy", max_bytes=MAX_BYTES)
        transports = found.child("transports")
        docker = transports.child("docker") if transports else None
        scopes = dict(docker.data) if docker else {}
        default = scopes.pop("", None) or found.array("default", required=True)
    except LayersError as exc:
        raise _bad(path, exc.message) from exc
    return Policy(
        path,
        default=_requirements(default, "default", path),
        scopes={
            _scope(scope, path): _requirements(items, f'transports.docker."{scope}"', path)
            for scope, items in scopes.items()
        },
    )


def _requirements(items: Any, where: str, path: str) -> Verdict:
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise _bad(path, f"`{where}` is not a list of requirements")
    signed = []
    for number, item in enumerate(items):
        kind = item.get("type")
        if kind == "reject":
            return REJECT
        if kind == "insecureAcceptAnything":
            continue
        if kind != "sigstoreSigned":
            return Verdict(refusal=f"the policy wants what cannot be verified here: {str(kind)[:80]}")
        if others := item.keys() - {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity"}:
            return Verdict(refusal=f"the policy wants what cannot be verified here: {min(others)[:80]}")
        signed.append(_sigstore(item, f"{where}[{number}]", path))
    return Verdict(*signed)


def _sigstore(item: dict[str, Any], where: str, path: str) -> Signed:
    one, several = item.get("keyPath"), item.get("keyPaths")
    data = item.get("keyDatas", [item["keyData"]] if "keyData" in item else None)
    sources = [source for source in ([one] if one else None, several, data) if source]
    are_lists = all(isinstance(source, list) for source in sources)
    if len(sources) != 1 or not are_lists or not all(isinstance(key, str) for key in sources[0]):
        raise _bad(path, f"`{where}` needs exactly one of keyPath, keyPaths, keyData and keyDatas")
    rule = _json_identity(item.get("signedIdentity"), f"{where}.signedIdentity", path)
    if not data:
        return Signed(*sources[0], identity=rule)
    try:
        texts = tuple(base64.b64decode(text, validate=True).decode() for text in data)
    except (binascii.Error, ValueError):
        raise _bad(path, f"`{where}.keyData` is not a key in base64") from None
    return Signed(key_texts=texts, identity=rule)


def _json_identity(value: Any, where: str, path: str) -> Identity:
    if value is None:
        return Identity(identity.EXACT_OR_DIGEST)
    rule = value.get("type") if isinstance(value, dict) else None
    wanted = _IDENTITY_FIELDS.get(str(rule))
    if wanted is None or value.keys() != {"type", *wanted}:
        raise _bad(path, f"`{where}` is no rule for identities with its fields")
    if not all(isinstance(value[name], str) and value[name] for name in wanted):
        raise _bad(path, f"`{where}` has a field that is no name")
    if rule == identity.REMAPPED:
        return Identity(identity.REMAPPED, prefix=value["prefix"], value=value["signedPrefix"])
    if rule == identity.OTHER_NAME:
        return Identity(rule, value=_name(value["dockerReference"], path).canonical)
    if rule == identity.OTHER_REPOSITORY:
        return Identity(rule, value=_name(value["dockerRepository"], path).repository)
    return Identity(str(rule))


_IDENTITY_FIELDS: dict[str, tuple[str, ...]] = {
    identity.EXACT: (),
    identity.EXACT_OR_DIGEST: (),
    identity.REPOSITORY: (),
    identity.OTHER_NAME: ("dockerReference",),
    identity.OTHER_REPOSITORY: ("dockerRepository",),
    identity.REMAPPED: ("prefix", "signedPrefix"),
}


def _scope(text: str, path: str) -> str:
    """Return a scope, its host in lower case; refuse one that no image can be in, which protects nothing."""
    host, slash, rest = text.partition("/")
    scope = host.lower() + slash + rest
    if host.startswith("*."):
        good = not slash and _is_host(host[2:])
    elif not slash:
        good = _is_host(host)
    else:
        good = _is_host(host) and _is_name(scope)
    if good:
        return scope
    raise _bad(
        path,
        f"no image is in the scope `{text[:160]}`",
        hint="write names in full: docker.io, docker.io/library, docker.io/library/debian:12, *.example.com",
    )


def _is_host(text: str) -> bool:
    return _is_name(f"{text}/x") and Reference.parse(f"{text}/x").domain == text


def _is_name(text: str) -> bool:
    try:
        Reference.parse(text)
    except LayersError:
        return False
    return True


def _name(text: str, path: str) -> Reference:
    try:
        return Reference.parse(text)
    except LayersError as exc:
        raise _bad(path, exc.message, hint=f"the name is `{text[:160]}`") from exc


def _bad(path: str, problem: str, *, hint: str = "") -> BadPolicy:
    return BadPolicy(
        f"cannot use the policy: {problem}",
        on=path,
        hint=hint or "nothing is pulled before it is mended; docs/signatures.md tells what may stand there",
    )
