"""The modules of the browser client that a page needs.

Asked for at once they come in one turn, and not in one for each step from a module to those that it imports.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

IMPORT = re.compile(r'^(?:import|export|\}) .*?from "(\.\.?/[\w/-]+)\.js";$', re.MULTILINE)


@cache
def needed(entry: str) -> tuple[str, ...]:
    """What this module imports, and what that imports, the nearest first. Read from the files, once a process.

    :param entry: its address among the static files, without ``.js``.
    """
    found = [entry]
    for name in found:
        file = finders.find(f"{name}.js")
        assert isinstance(file, str), f"there is no static file {name}.js"
        for other in IMPORT.findall(Path(file).read_text("utf-8")):
            module = posixpath.normpath(posixpath.join(posixpath.dirname(name), other))
            if module not in found:
                found.append(module)
    return tuple(found[1:])


def preloads(entry: str, beside: str = "") -> SafeString:
    """``{% preloads "rooms/live-room" %}``: asks for the modules that this one needs before it says so itself.

    :param beside: another module of the page, which has asked for its own already.
    """
    asked = {beside, *needed(beside)} if beside else set()
    addresses = ((static(f"{name}.js"),) for name in needed(entry) if name not in asked)
    return format_html_join("\n", '<link rel="modulepreload" href="{}">', addresses)
