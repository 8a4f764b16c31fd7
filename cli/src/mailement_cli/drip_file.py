"""The description of a drip that operators write, in YAML; docs/drips.md has the format.

name: Welcome
trigger: subscriber_confirmed     # or topic_added (with `topic: <slug>`), manual, event, date
steps:
  - delay: 0                      # 0, "10 minutes", "2 days"; first from the enrolment, then from the previous
    subject: Welcome, {{ first_name }}
    html: <p>Hello</p>            # html or text, or both
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml
from typing_extensions import override

from mailement_cli.session import Fault
from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.rules.drip_definition import DripDefinition, read_definition


class _Loader(yaml.SafeLoader):
    """YAML without two of its surprises: 17:00 stays a time and 2027-01-31 a date as they were written; a key comes once."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        doubled = next((key for key in keys if keys.count(key) > 1), None)
        if doubled is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {doubled!r} comes twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


_SURPRISING: Final = frozenset(
    {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SURPRISING]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?$"),
    list("-+0123456789"),
)


def read_description(text: str) -> Mapping[str, Any]:
    """What the file says, not yet read as a drip. Raises Fault."""
    try:
        described = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, but for two surprises
    except (yaml.YAMLError, RecursionError) as error:
        raise Fault(f"the drip file is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(described, dict):
        raise Fault("the drip file: this is a mapping of names to values")
    return described


def read_drip(text: str) -> DripDefinition:
    """Raises Fault, with every fault of the description in its message."""
    try:
        return read_definition(read_description(text))
    except InvalidDrip as error:
        raise in_the_file(error) from None


def in_the_file(error: InvalidDrip) -> Fault:
    return Fault(f"the drip file: {error}")
