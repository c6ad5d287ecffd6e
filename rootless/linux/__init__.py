"""The kernel's interface: numbers, system calls, parsers of /proc. The only importer of ctypes. Ring 0."""
