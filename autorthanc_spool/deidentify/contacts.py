"""How somebody can be reached: mail addresses, addresses on the web, telephone numbers in people's words."""

from __future__ import annotations

import re

# Repetitions are bounded: texts may be long, and made to be slow.
_MAIL = re.compile(r"[\w.%+-] ?(?:@|\(at\)|\[at\]) ?[\w-]{1,63}(?:\.[\w-]{1,63})+")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://\S|\bwww\.\w|\bmailto:", re.IGNORECASE)

# A word for it and some digits; or a number with its country; or one with a trunk prefix, or in American groups.
_WORDS = r"tel|tele?ph?one?|telefon|phone|fon|fax|mobile?|mob|cell|handy|gsm|call|pager|ext|durchwahl|whatsapp"
_TELEPHONE = re.compile(
    rf"\b(?:{_WORDS})\b[\W_]{{0,3}}(?:n(?:o|r|umber)\b\W{{0,2}})?[+(]?\d(?:[ ()/.-]{{0,2}}\d){{2,15}}"
    r"|(?<![\w.])(?:\+|00)[1-9]\d{0,2}(?:[ ()/.-]{0,3}\d){6,15}"
    r"|(?<![\w.+-])\(?0[1-9]\d{0,4}\)?[ /-]{1,3}\d{3,12}(?:[ /-]\d{2,6}){0,4}(?![\w.])"
    r"|(?<![\w.+-])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w.])",
    re.IGNORECASE,
)


def has_contact(words: str) -> bool:
    """Whether a text says how somebody can be reached."""
    return any(pattern.search(words) is not None for pattern in (_MAIL, _ADDRESS, _TELEPHONE))
