"""The door through which images come in: what the policy says of one, before any of it is unpacked.

The first of these files is the policy, the others are not looked at:

    $XDG_CONFIG_HOME/rootless/policy.toml    /etc/rootless/policy.toml
    ~/.config/containers/policy.json         /etc/containers/policy.json    (containers-policy.json(5))
"""

from __future__ import annotations

import os

from layers.reference import Reference
from rootless.errors import os_error_text
from rootless.registry.transport.base import is_in_registry
from rootless.trust.errors import BadPolicy, SignatureRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.digest import Digest
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Source
    from rootless.trust.policy import Policy, Verdict

SYSTEM = "/etc"


class Admission:
    """What decides about images of registries."""

    __slots__ = ("_policy", "_settings")

    def __init__(self, policy: Policy, settings: RegistrySettings) -> None:
        self._policy = policy
        self._settings = settings

    @classmethod
    def to(cls, reference: str, settings: RegistrySettings) -> Admission | None:
        """Return what decides about a reference as a user writes it; reads the policy, a small file.

        None where everything comes in: without a policy, and from a file or a directory, which have no
        signatures and are the user's own business.

        Raises:
            BadPolicy: it cannot be read; not even what it may not be about comes in then.
        """
        policy = find_policy(settings)
        if policy is None or not is_in_registry(reference):
            return None
        return cls(policy, settings)

    def check_name(self, source: Source) -> None:
        """Refuse what no signature would make acceptable, before anybody is asked for it.

        Raises:
            SignatureRefused: the policy rejects the image.
        """
        if getattr(source, "asked", None):
            return  # a short name: which image it means is known when one is found
        scope, verdict = self._policy.judge(Reference.parse(source.name))
        if verdict.refusal:
            raise self._refusal(source.name, scope, verdict.refusal)

    async def admit(self, source: Source, *digests: Digest) -> None:
        """Refuse an image that has not the signatures that the policy wants.

        Args:
            digests: of the image's index and manifest; one of them is to be signed.

        Raises:
            SignatureRefused: the policy rejects it, or the signatures do not count.
            RegistryError, BadKey: there is no telling.
        """
        image = Reference.parse(source.name)
        scope, verdict = self._policy.judge(image)
        if verdict.refusal:
            raise self._refusal(source.name, scope, verdict.refusal)
        if not verdict.signed:
            return
        from rootless.engine.verifying import prove  # the cryptography is for those who want signatures

        try:
            await prove(image, list(dict.fromkeys(digests)), verdict.signed, settings=self._settings)
        except SignatureRefused as exc:
            raise self._refusal(source.name, scope, exc.message, verdict) from exc

    def _refusal(
        self, image: str, scope: str, reason: str, verdict: Verdict | None = None
    ) -> SignatureRefused:
        asked = f"{self._policy.path} decides, for " + (f"`{scope}`" if scope else "every image by default")
        if verdict:
            keys = [key for signed in verdict.signed for key in signed.key_files or ("its keyData",)]
            asked += f"; wanted is a signature by {', '.join(keys)[:300]}\n`rootless sign` makes one"
        return SignatureRefused(f"cannot use the image: {reason}", on=image, hint=asked)


def find_policy(settings: RegistrySettings) -> Policy | None:
    """Return the policy that counts; None where nobody has written one.

    Raises:
        BadPolicy: it cannot be read. The next file is then not asked instead.
    """
    for directory in (settings.config_home, SYSTEM):
        if (data := _read(path := os.path.join(directory, "rootless", "policy.toml"))) is not None:
            from rootless.trust import policy_files

            return policy_files.parse_toml(_decoded(data, path), path)
    for directory in (os.path.join(settings.home, ".config"), SYSTEM):
        if (data := _read(path := os.path.join(directory, "containers", "policy.json"))) is not None:
            from rootless.trust import policy_files

            return policy_files.parse_json(data, path)
    return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise BadPolicy(f"cannot read the policy: {os_error_text(exc)}", on=path) from exc


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise BadPolicy(f"cannot use the policy: byte {exc.start} is not UTF-8", on=path) from None
