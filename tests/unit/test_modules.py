"""The browser client's modules: those that a page asks for beforehand are those that it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rooms import modules

FOLDER = Path(modules.__file__).parent / "static" / "rooms"


def imported(name: str) -> set[str]:
    """All that a module imports, and what that imports; ``@typedef {import("./x.js")…}`` is none."""
    found, waiting = {name}, [name]
    while waiting:
        text = (FOLDER / f"{waiting.pop()}.js").read_text()
        for other in re.findall(r'^(?:import|export|\}) .*?from "\./([\w-]+)\.js";$', text, re.MULTILINE):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found - {name}


@pytest.mark.parametrize("entry", modules.NEEDED)
def test_a_page_asks_for_the_modules_that_it_needs(entry: str) -> None:
    needed = modules.NEEDED[entry]
    assert set(needed) == imported(entry)
    assert len(needed) == len(set(needed))
