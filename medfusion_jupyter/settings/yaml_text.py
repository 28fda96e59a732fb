"""Settings as YAML, in which `1e-3` is a number: it is one in YAML 1.2 and for whoever writes a learning rate."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Reader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Plain values alone: no tag makes an object, and a date is a text, as in JSON."""


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in there if tag != "tag:yaml.org,2002:timestamp"]
    for first, there in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Writer(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes the texts that `_Reader` would take for numbers."""


# PyYAML wants a point and the exponent's sign, as YAML 1.1 did
_WITH_EXPONENT = re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")

for _class in (_Reader, _Writer):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _WITH_EXPONENT, "-+.0123456789")


# in any other style PyYAML writes these ends of lines as they are, and reads them as blanks
_RARE_BREAKS = frozenset("\x85\u2028\u2029")


def _text(writer: _Writer, value: str) -> Any:
    style = '"' if _RARE_BREAKS & set(value) else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(str, _text)


def read_yaml(text: str) -> Any:
    """What the text holds: dicts, lists, texts, numbers. Raises ValueError, with the line, for what is no YAML."""
    try:
        return yaml.load(text, _Reader)
    except yaml.YAMLError as error:
        raise ValueError(f"This is no YAML: {error}") from None


def write_yaml(value: Any) -> str:
    """The value as YAML that `read_yaml` reads back, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120)
    return text
