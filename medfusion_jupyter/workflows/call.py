"""How a node reads as Python: which public function it is, and where its inputs, settings and outputs are in the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """A call of a public function.

    function: as it is written, such as `mf.train`; one that begins with a dot is a method of the first of `inputs`. inputs: for
    each input port its keyword, or None where it is given by place. by_place: settings that are given by place, after those
    inputs. outputs: for each output port what is written behind the variable, such as `.model`. then: what is written behind
    the call. constants: keywords that are always written.
    """

    function: str
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    by_place: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    then: str = ""
    constants: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Word:
    """A setting that is all of a node, written as a text of its own: `fusion = "gated"`. It is used by its keyword."""

    setting: str
    keyword: str


@dataclass(frozen=True)
class Comment:
    """A setting that is written as a comment."""

    setting: str
