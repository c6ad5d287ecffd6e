"""A registry of one's own: the serving half of the distribution specification.

`routes`, `ranges`, `paging` and `manifests` decide and do nothing else; `storage`, `sessions` and `collect`
are the disk; `http` is the wire, `auth` who may use it, `mirror` another registry behind this one;
`service` and `uploads` answer with all of them.
"""
