"""What one can do with the engine, as functions that do it: the Python interface, and the commands' own core.

`store` finds, lists, describes and removes, in blocking functions of ring 1: the command line prints what
they return, and the async methods call them in threads. Everything else here is trio (ring 2), and public
by the names that `import rootless` offers: docs/python.md.
"""
