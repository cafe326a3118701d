"""The modules of the browser client that a page needs.

Asked for at once they come in one turn, and not in one for each step from a module to those that it imports.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

FOLDER = Path(__file__).parent / "static" / "rooms"
IMPORT = re.compile(r'^(?:import|export|\}) .*?from "\./([\w-]+)\.js";$', re.MULTILINE)


@cache
def needed(entry: str) -> tuple[str, ...]:
    """What this module imports, and what that imports, the nearest first. Read from the files, once a process."""
    found = [entry]
    for name in found:
        text = (FOLDER / f"{name}.js").read_text("utf-8")
        found += [other for other in IMPORT.findall(text) if other not in found]
    return tuple(found[1:])


def preloads(entry: str) -> SafeString:
    """``{% preloads "live-room" %}``: asks for the modules that this one needs before it says so itself."""
    addresses = ((static(f"rooms/{name}.js"),) for name in needed(entry))
    return format_html_join("\n", '<link rel="modulepreload" href="{}">', addresses)
