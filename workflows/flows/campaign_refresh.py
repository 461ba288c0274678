"""The section `refresh` of a campaign file: when a new model is trained, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from workflows.flows.campaign_fields import Section, Text, choose

PRESETS = (
    *("best", "sem-cgcnn", "surface", "gradnorm", "mtl"),
    *("stl-surface-energy", "stl-work-function"),
)
"""Names of `model.presets.PRESETS`, which cannot be asked without importing torch; a test compares them."""


def _preset(name: str) -> str:
    return choose(name, PRESETS, "preset")


class Refresh(Section):
    """When a new model is trained, and how."""

    after_campaign: bool = Field(default=False, description="mgsurf run ends with a refresh")
    min_new_records: int = Field(
        default=50, ge=1, description="Accepted records that must be new since the champion was trained"
    )
    preset: Annotated[str, AfterValidator(_preset)] = Field(
        default="best", description="Of the network, as for mgsurf train"
    )
    members: int = Field(default=5, ge=1, le=50, description="Networks of the ensemble")
    epochs: int | None = Field(default=None, ge=1, description="Instead of the preset's")
    method: Text | None = Field(
        default=None,
        description="Only labels of this method or source, its fingerprint or its beginning; by default the "
        "champion's, else the only one of the store",
    )
    targets: list[Text] | None = Field(
        default=None, min_length=1, description="What is learned; by default surface energy and work function"
    )
