"""`suppress`, `contextmanager` and `nullcontext` as contextlib has them, for the launch path. Pure; ring 0.

Importing contextlib brings collections, functools and types along: 2 of the 40 ms of a container's start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # the types are contextlib's, too
    from contextlib import contextmanager, nullcontext, suppress

    __all__ = ["contextmanager", "nullcontext", "suppress"]
else:

    class suppress:
        """Pass over these exceptions in the body of a `with` statement."""

        __slots__ = ("_kinds",)

        def __init__(self, *kinds):
            self._kinds = kinds

        def __enter__(self):
            return None

        def __exit__(self, kind, *_):
            return kind is not None and issubclass(kind, self._kinds)

    class nullcontext:
        """Do nothing before and after."""

        __slots__ = ()

        def __enter__(self):
            return None

        def __exit__(self, *_):
            return None

    class _Generator:
        """Run a generator up to its one `yield`, and the rest of it at the end of the `with` statement."""

        __slots__ = ("_steps",)

        def __init__(self, steps):
            self._steps = steps

        def __enter__(self):
            return next(self._steps)

        def __exit__(self, kind, value, traceback):
            if kind is None:
                for _ in self._steps:
                    raise RuntimeError("generator yields twice")
                return False
            try:
                self._steps.throw(value)
            except StopIteration as end:
                return end is not value
            except BaseException as raised:
                wrapped = kind is StopIteration and raised.__cause__ is value  # PEP 479
                if raised is not value and not wrapped:
                    raise
                value.__traceback__ = traceback  # without our own frames
                return False
            raise RuntimeError("generator yields twice")

    def contextmanager(function):
        """Make a function that yields once give context managers."""

        def make(*arguments, **keywords):
            return _Generator(function(*arguments, **keywords))

        make.__name__ = function.__name__
        make.__doc__ = function.__doc__
        return make
