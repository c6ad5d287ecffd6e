"""OCI images on disk: digests, manifests, references, layers and the store that holds them.

A library of its own: imports nothing of the engine above it, speaks to no network.
"""
