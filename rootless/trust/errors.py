"""Why an image is not trusted, and why a key or a policy cannot be used."""

from __future__ import annotations

from rootless.errors import ImageError, RootlessError


class SignatureRefused(ImageError):
    """No signature of an image is what is asked for."""

    reference = "signature"


class BadKey(RootlessError):
    """A file holds no key that can be used, or its password is wrong."""

    reference = "bad-key"


class BadPolicy(RootlessError):
    """A policy cannot be read; nothing may be pulled under it."""

    reference = "bad-policy"
