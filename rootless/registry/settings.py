"""What the caller decides about registries: trust, environment, deadlines. Plain values, no I/O."""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.model.value import Value
from rootless.registry.registries import Registries
from rootless.registry.registry_files import load_registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

MAX_MANIFEST_BYTES = 4 << 20
"""What distribution-spec §Pushing Manifests asks registries to accept; Docker and containerd read no more."""
MAX_TOKEN_BODY_BYTES = 1 << 20
"""Answers of token servers; containers/image reads as much."""
MAX_ERROR_BODY_BYTES = 64 << 10
"""Enough for every list of errors that is meant for people."""
PARALLEL_DOWNLOADS = 3
"""Blobs of one image at the same time: Docker's --max-concurrent-downloads, which registries are used to."""


class Deadlines(Value):
    """Every wait for a registry ends; these are the ends. Seconds, unless the name says otherwise.

    Attributes:
        connect_s: TCP and TLS, each address.
        answer_s: from the request to the end of the answer's headers, and again to the end of a small body.
        idle_s: between two pieces of a blob.
        slow_window_s, slow_bytes_per_s: a download that stays below this rate for this long has failed:
            one byte a second is no progress, though it never idles.
        attempts: tries of one request or stretch of a blob before its error is reported.
        backoff_s, backoff_limit_s: first and longest pause between tries, doubled each time, jittered.
        retry_after_limit_s: a registry that asks for a longer pause is reported instead of obeyed.
        helper_s: a credential helper may ask a human for a passphrase, but not for ever.
    """

    __slots__ = (
        "answer_s",
        "attempts",
        "backoff_limit_s",
        "backoff_s",
        "connect_s",
        "helper_s",
        "idle_s",
        "retry_after_limit_s",
        "slow_bytes_per_s",
        "slow_window_s",
    )

    def __init__(
        self,
        *,
        connect_s: float = 20,
        answer_s: float = 60,
        idle_s: float = 30,
        slow_window_s: float = 30,
        slow_bytes_per_s: float = 1024,
        attempts: int = 5,
        backoff_s: float = 0.5,
        backoff_limit_s: float = 15,
        retry_after_limit_s: float = 60,
        helper_s: float = 60,
    ) -> None:
        self.connect_s = connect_s
        self.answer_s = answer_s
        self.idle_s = idle_s
        self.slow_window_s = slow_window_s
        self.slow_bytes_per_s = slow_bytes_per_s
        self.attempts = attempts
        self.backoff_s = backoff_s
        self.backoff_limit_s = backoff_limit_s
        self.retry_after_limit_s = retry_after_limit_s
        self.helper_s = helper_s

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "idle_s=2,attempts=2": the form of $ROOTLESS_REGISTRY_DEADLINES.

        Raises:
            UsageError: a name is unknown or a value is not a positive number.
        """
        values: dict[str, float] = {}
        for item in filter(None, text.split(",")):
            name, _, number = item.partition("=")
            try:
                values[name] = _positive(number)
            except ValueError:
                raise UsageError(f"invalid deadline: `{item}`") from None
            if name not in cls.__slots__:
                raise UsageError(f"unknown deadline: `{name}`", hint="one of " + ", ".join(cls.__slots__))
        if "attempts" in values:
            values["attempts"] = max(1, int(values["attempts"]))
        return cls.from_json(values)


class RegistrySettings:
    """How to reach registries, decided once per command.

    Attributes:
        tls_verify: False accepts any certificate, and plain HTTP from any host; True accepts plain HTTP from
            loopback only.
        environment: of the calling process; read here are DOCKER_CONFIG, REGISTRY_AUTH_FILE,
            XDG_RUNTIME_DIR, XDG_CONFIG_HOME, XDG_STATE_HOME, HOME, SSL_CERT_FILE, SSL_CERT_DIR and the proxy
            variables. All of it goes to credential helpers, which are the user's own programs.
        deadlines: see `Deadlines`.
        registries: which of them are asked for what.
        strict: the user wants TLS wherever the registries' configuration would do without.
    """

    __slots__ = ("deadlines", "environment", "registries", "strict", "tls_verify")

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        tls_verify: bool = True,
        deadlines: Deadlines | None = None,
        registries: Registries | None = None,
        strict: bool = False,
    ) -> None:
        self.environment = environment
        self.tls_verify = tls_verify
        self.deadlines = deadlines or Deadlines()
        self.registries = registries or Registries()
        self.strict = strict

    @classmethod
    def of(cls, environment: Mapping[str, str], *, tls_verify: bool | None) -> Self:
        """Return what a user, their environment and their files say.

        Args:
            tls_verify: None where the user has not said it.
        Raises:
            UsageError: $ROOTLESS_REGISTRY_DEADLINES makes no sense. It is for tests, and for networks that
                the defaults do not fit.
            RegistryError: a file about registries makes none.
        """
        deadlines = Deadlines.parse(environment.get("ROOTLESS_REGISTRY_DEADLINES", ""))
        return cls(
            environment=dict(environment),
            tls_verify=tls_verify is not False,
            deadlines=deadlines,
            registries=load_registries(environment),
            strict=tls_verify is True,
        )

    def once(self) -> Self:
        """Return these settings for a registry that is not waited for, since another one can be asked."""
        return type(self)(
            environment=self.environment,
            tls_verify=self.tls_verify,
            deadlines=self.deadlines.replace(attempts=1),
            registries=self.registries,
            strict=self.strict,
        )

    @property
    def home(self) -> str:
        """The home directory, as the shell has it; "/" where it says nothing."""
        return self.environment.get("HOME") or "/"

    @property
    def config_home(self) -> str:
        """$XDG_CONFIG_HOME, else ~/.config."""
        return self.environment.get("XDG_CONFIG_HOME") or os.path.join(self.home, ".config")

    @property
    def state_home(self) -> str:
        """$XDG_STATE_HOME, else ~/.local/state."""
        return self.environment.get("XDG_STATE_HOME") or os.path.join(self.home, ".local", "state")


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError(text)
    return number
