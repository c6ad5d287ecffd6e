"""Places that images come from, one module each, found through the entry points `rootless.transports`."""
