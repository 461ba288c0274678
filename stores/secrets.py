"""Passwords, keys and tokens, kept out of every text that is shown or written.

`masked` is the one place where they are taken out: of a store's name, of messages, tracebacks, logs and of
what libraries report. It knows the secrets of the environment and of every address that was read, whatever
their characters, and recognises others by their form.
"""

from __future__ import annotations

import logging
import os
import re
from urllib.parse import quote, unquote

HIDDEN = "***"
SHORTEST = 4  # a shorter secret is hidden only where its form shows what it is: elsewhere it may be any word
SHORTEST_VALUE = 8  # shortest value of a variable of the environment that is hidden everywhere

_VARIABLE = re.compile(r"(token|secret|passw(or)?d|passphrase|credentials?|_key|apikey)$", re.IGNORECASE)
_NAME = r"(?:token|secret|passw(?:or)?d|passphrase|credential|api_?-?key|access_?-?key)[\w.-]{0,64}"
_PATTERNS = (
    # user:password@ behind // or a blank; a user alone is no secret
    (re.compile(r"(//[^:/@\s]{0,256}|\b[^:/@\s]{1,256}):(?!//)\S{0,1024}@"), rf"\1:{HIDDEN}@"),
    # the same with blanks; behind a port there is no password
    (re.compile(r"(://[^:/@\s]{0,256}):(?!\*\*\*@|\d*[/,\s?\"'])(?:(?!://).){1,1024}@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(https?://)[^:/@\s]+@"), rf"\1{HIDDEN}@"),  # a token in the place of the user
    (re.compile(rf"(?i)({_NAME}[\"']?(?:=|:(?!//)|:\s+[\"'])[\"']?)[^&\s,;\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{HIDDEN}"),
)
_OF_FILES = ("sqlite://", "folder://", "memory://")
_remembered: set[str] = set()


def remember(secret: str | None) -> None:
    """Note a secret, so that `masked` hides it everywhere."""
    if secret and len(secret) >= SHORTEST:
        _remembered.add(secret)


def remember_address(address: str) -> None:
    """Note the password and the tokens in an address, as they are written and without percent signs."""
    if "://" not in address or address.startswith(_OF_FILES):
        return
    _, password = userinfo(address)
    for form in (password, unquote(password), quote(unquote(password), safe="")):
        remember(form)
    for found in re.finditer(rf"(?i){_NAME}[=:](([^&\s,;]+).*)", address, re.DOTALL):
        remember(found[1])  # with the rest of the address: & , ; or a blank may belong to it
        remember(found[2])


def userinfo(address: str) -> tuple[str, str]:
    """Return user and password as they stand in an address, whatever characters they have."""
    user, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    return user, password


def masked(text: str) -> str:
    """Return a text without the passwords, keys and tokens in it."""
    known = _remembered | _of_environment()
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _of_environment() -> set[str]:
    found = set()
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and len(value) >= SHORTEST_VALUE:
            found.add(value)
        elif "://" in value and len(password := userinfo(value)[1]) >= SHORTEST:
            found |= {password, unquote(password)}
    return found


class MaskedFormatter(logging.Formatter):
    """Formats log records, their tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return masked(super().format(record))
