"""Keep the Authorization header for one repository: the user's credentials, or a token that they buy.

Tokens live in here, for one repository of one registry, and end with it (attack: B10).
"""

from __future__ import annotations

import json

import trio  # noqa: TID253  imported with a transport only

from rootless.errors import RegistryError
from rootless.registry.challenge import (
    Challenge,
    check_realm,
    choose_challenge,
    parse_challenges,
    read_token,
    refresh_form,
    token_query,
)
from rootless.registry.credentials import describe_places, find_credential
from rootless.registry.faults import Answer, answer_error
from rootless.registry.hosts import api_host, host_of
from rootless.registry.settings import MAX_TOKEN_BODY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.authfile import Credential
    from rootless.registry.client import HttpClient


class Authorizer:
    """Answers challenges of one registry for one repository, or with no path for the registry itself.

    Attributes:
        header: value for Authorization, "" while none was asked for.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        domain: str,
        path: str,
        scopes: tuple[str, ...],
        credential: Credential | None = None,
        insecure: bool = False,
    ) -> None:
        self.header = ""
        self._insecure = insecure
        self._client = client
        self._domain = domain
        self._path = path
        self._scopes = scopes
        self._lock = trio.Lock()
        self._credential = credential
        self._looked = credential is not None

    async def answer(self, challenges: list[str], *, refused: str) -> bool:
        """Get a new header after a 401; False when nothing better than the refused one can be had.

        Args:
            challenges: the WWW-Authenticate headers of the refusal.
            refused: the header that was sent. Tasks that were refused together renew once.
        """
        async with self._lock:
            if self.header != refused:
                return True
            challenge = choose_challenge(parse_challenges(challenges))
            if challenge is None:
                return False
            credential = await self._find_credential()
            if challenge.scheme == "basic":
                header = credential.basic if credential and credential.username else ""
            elif credential and credential.registry_token:
                header = f"Bearer {credential.registry_token}"
            else:
                header = await self._fetch_token(challenge, credential)
            if not header or header == refused:
                return False
            self.header = header
            return True

    def advice(self) -> str:
        """Return what a user who was refused needs to know about credentials."""
        if self._credential is None:
            return describe_places(self._client.settings, self._domain)
        if not self._credential.source:
            return "are the user name and the password right?"
        return (
            f"the credentials from {self._credential.source} were used; are they right, and enough? "
            f"`rootless login {self._domain}` replaces them"
        )

    @property
    def _on(self) -> str:
        return f"{self._domain}/{self._path}".rstrip("/")

    async def _find_credential(self) -> Credential | None:
        if not self._looked:
            self._credential = await trio.to_thread.run_sync(
                find_credential, self._client.settings, self._domain, self._path, abandon_on_cancel=True
            )
            self._looked = True
        return self._credential

    async def _fetch_token(self, challenge: Challenge, credential: Credential | None) -> str:
        realm = check_realm(
            challenge.parameters["realm"],
            registry=api_host(self._domain),
            insecure=not self._client.settings.tls_verify,
            plain_host=host_of(self._domain) if self._insecure else "",
        )
        if credential and credential.identity_token:
            form = refresh_form(challenge, scopes=self._scopes, refresh_token=credential.identity_token)
            answer = await self._client.post_form(realm, form)
        else:
            username = credential.username if credential else ""
            answer = await self._get_token(
                token_query(challenge, scopes=self._scopes, account=username),
                authorization=credential.basic if credential and username else "",
            )
        return f"Bearer {self._read(answer)}"

    async def _get_token(self, url: str, *, authorization: str) -> Answer:
        async with self._client.get(
            url, headers={"Accept": "application/json"}, authorization=authorization
        ) as reply:
            return await reply.read(MAX_TOKEN_BODY_BYTES)

    def _read(self, answer: Answer) -> str:
        if answer.status != 200:
            raise answer_error(
                answer,
                doing="get a token",
                on=self._on,
                credentials=self.advice(),
            )
        token = ""
        if len(answer.body) <= MAX_TOKEN_BODY_BYTES:
            try:
                token = read_token(json.loads(answer.body))
            except (ValueError, RecursionError):
                token = ""
        if not token:  # without an excerpt: what came may hold a token all the same
            raise RegistryError(
                "cannot get a token: the token server's answer holds none",
                on=self._on,
                reference="bad-token",
            )
        return token
