"""Places that images come from, one module each; those of other packages are found through entry points."""
