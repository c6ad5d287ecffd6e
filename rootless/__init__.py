"""Run, pull, build and push OCI containers without root. Importing the package costs nothing."""

__version__ = "0.1.0"
