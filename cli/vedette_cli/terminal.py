"""Text from manifests and events on a terminal: hostile names must not move the cursor or colour the screen."""

from __future__ import annotations

import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """Without control and formatting characters, and without what XML cannot hold; line breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in "\t\n" or not _is_hidden(one) else REPLACEMENT for one in text)


def _is_hidden(character: str) -> bool:
    # Cc: control characters; Cf: direction marks and the like; Cs: halves of surrogate pairs; Cn: non-characters.
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Cn"}
