"""The section `notify` of a campaign file: who is notified, and of what."""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")


def _is_address(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"https?://[^\s/]+\S*", text) and urlsplit(text).hostname)
    except ValueError:  # half an IPv6 address
        return False


def _webhook(address: str) -> str:
    # no message repeats the address: whoever knows it can post
    if not _VARIABLE.fullmatch(address) and not _is_address(address):
        raise ValueError("must be an address such as https://hooks.slack.com/..., or $NAME of a variable")
    return address


def _command(words: list[str]) -> list[str]:
    if any("\0" in word for word in words) or not words[0].strip():
        raise ValueError("must be a program and its arguments, such as [mail, -s, mgsurf, me@example.org]")
    return words


class Notify(BaseModel):
    """A webhook or a command that gets a text when something happened."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    webhook: Annotated[str, AfterValidator(_webhook)] | None = Field(
        default=None, description='Gets {"text": ...} by POST, as Slack takes it; $NAME: a variable holds it'
    )
    command: Annotated[list[str], AfterValidator(_command)] | None = Field(
        default=None, min_length=1, description="Program and arguments; gets the text on its standard input"
    )
    campaign_ends: bool = Field(default=True, description="When mgsurf run ends, or pull finds all jobs done")
    model_promoted: bool = Field(default=True, description="When a refresh makes a new champion")
    failures: int | None = Field(
        default=None, ge=1, description="As soon as so many calculations of a run have problems"
    )

    @model_validator(mode="after")
    def _somebody(self) -> Notify:
        if self.webhook is None and self.command is None:
            raise ValueError("give a webhook, a command or both")
        return self

    def address(self) -> str | None:
        """Return the address of the webhook; empty if the variable that should hold it holds none."""
        if self.webhook is None:
            return None
        if (named := _VARIABLE.fullmatch(self.webhook)) is None:
            return self.webhook
        value = os.environ.get(named[1], "").strip()
        return value if _is_address(value) else ""
