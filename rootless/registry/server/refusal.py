"""How the registry says no: a status, and the specification's JSON. Pure.

Spec: distribution-spec v1.1 §Error Codes.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BLOB_UNKNOWN = "BLOB_UNKNOWN"
BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
DIGEST_INVALID = "DIGEST_INVALID"
MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
MANIFEST_INVALID = "MANIFEST_INVALID"
MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
NAME_INVALID = "NAME_INVALID"
NAME_UNKNOWN = "NAME_UNKNOWN"
SIZE_INVALID = "SIZE_INVALID"
UNAUTHORIZED = "UNAUTHORIZED"
UNSUPPORTED = "UNSUPPORTED"
# Not the specification's, but what Docker's registry says in these cases:
PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
TAG_INVALID = "TAG_INVALID"
UNKNOWN = "UNKNOWN"

MEDIA_TYPE = "application/json"


class Refusal(Exception):
    """An answer that is no success.

    Attributes:
        status: of HTTP. code: one of this module's. message: for people, lower case.
        headers: that the answer has beside those of every answer.
    """

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def to_json(self) -> bytes:
        """Return the body of the answer."""
        return json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode() + b"\n"


def not_allowed(method: str, allowed: str) -> Refusal:
    """Return the refusal of a method that this place has not; `allowed` names those that it has."""
    message = f"the method {method[:16]} is not allowed here"
    return Refusal(405, UNSUPPORTED, message, headers={"Allow": allowed})
