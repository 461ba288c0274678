"""How the YAML of a campaign file is read: planes stay the text that was written."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

TEXT = "tag:yaml.org,2002:str"


def reader() -> YAML:
    """Return a round-trip reader whose `facets` hold text: 0110 is four digits, not the number 110 or 72."""
    yaml = YAML(typ="rt")
    yaml.Constructor = _Constructor
    return yaml


class _Constructor(RoundTripConstructor):
    def construct_mapping(  # type: ignore[override] # as ruamel's own round-trip constructor
        self, node: Any, maptyp: Any, deep: bool = False
    ) -> Any:
        _keep_planes_as_text(node)
        return super().construct_mapping(node, maptyp, deep)


def _keep_planes_as_text(node: MappingNode) -> None:
    for key, value in node.value:
        if key.value == "facets" and isinstance(value, SequenceNode):
            for plane in value.value:
                if isinstance(plane, ScalarNode):
                    plane.tag = TEXT
