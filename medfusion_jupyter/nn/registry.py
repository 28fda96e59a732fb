"""One registry for each kind of part: a name, a builder, an error that offers the closest name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

LONG_LIST = 20
"""An error that names more choices than this is not read."""


class UnknownPart(LookupError):
    """A name that no registry entry has."""


class Registry(Generic[T]):
    """Builders of one kind of part by name.

    >>> fusions = Registry("fusion")
    >>> @fusions.register("concat")
    ... class Concat: ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorate a class or function that builds the part. Raises ValueError where `name` is taken."""

        def add(builder: Callable[..., T]) -> Callable[..., T]:
            if name in self._builders:
                raise ValueError(f"A {self.kind} named {name!r} is registered already; choose another name.")
            self._builders[name] = builder
            return builder

        return add

    def __call__(self, name: str) -> Callable[..., T]:
        """The builder of that name. Raises UnknownPart, offering the closest name."""
        try:
            return self._builders[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._builders, n=LONG_LIST // 4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UnknownPart(f"There is no {self.kind} {name!r}.{hint} Choose {self._choices(near)}.") from None

    def _choices(self, near: list[str]) -> str:
        if len(self._builders) <= LONG_LIST:
            return f"one of: {', '.join(self)}"
        some = near or list(self._builders)[: LONG_LIST // 4]
        everything = f"list(medfusion_jupyter.nn.{self.kind.replace(' ', '_')}s)"
        return f"one of {len(self._builders)}, such as {', '.join(some)}; `{everything}` has them all"

    def __contains__(self, name: object) -> bool:
        return name in self._builders

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._builders))
