"""`python -m rootless`: the same program as the console script."""

from rootless._entry import main

if __name__ == "__main__":
    raise SystemExit(main())
