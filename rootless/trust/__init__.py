"""Signatures of images: keys, what is signed, how it is laid out in a registry, and who must have signed.

The formats are those of cosign (github.com/sigstore/cosign specs/SIGNATURE_SPEC.md). Nothing here talks to a
registry: `engine.signing` and `engine.admission` do.
"""
