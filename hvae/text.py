"""Text that others wrote, as text: what would act on who shows it stands as its escape."""

import unicodedata

ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (bidi overrides), surrogate, separators
KEPT = "\n\t"


def visible(text: str) -> str:
    r"""The text with each character that is none to be seen as its escape: ESC as `\x1b`, a
    character that turns the others around as `\u202e`. Line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        ascii(c)[1:-1] if c not in KEPT and unicodedata.category(c) in ACTING else c for c in text
    )
