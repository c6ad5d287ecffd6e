"""`python -m rootless`: the same program as the console script."""

from rootless._entry import console

if __name__ == "__main__":
    console()
