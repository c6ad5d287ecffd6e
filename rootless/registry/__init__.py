"""Client of the OCI distribution specification: how an image's bytes reach this machine.

`session`, `challenge`, `authfile`, `redirects`, `proxies`, `retry` and `faults` decide and touch nothing;
`client` moves the bytes; `transport` holds the places that images come from. The store is written elsewhere.
"""
