"""What kind of device a request comes from, as far as it says so itself. Worth a picture beside a name, no more."""

from __future__ import annotations

import re

from rooms.identity import Headers, header

DESKTOP, MOBILE, TABLET, OTHER = "desktop", "mobile", "tablet", "other"
_TABLET = re.compile(r"iPad|Tablet|PlayBook|Silk/|Android(?!.*Mobile)")
_MOBILE = re.compile(r"Mobi|iPhone|iPod|Android")
_DESKTOP = re.compile(r"Windows NT|Macintosh|X11|CrOS|Linux")


def device(headers: Headers) -> str:
    """``desktop``, ``mobile``, ``tablet``, or ``other``: a program, or a browser that does not say."""
    agent = header(headers, b"user-agent")[:500]
    if _TABLET.search(agent):
        return TABLET
    if _MOBILE.search(agent) or header(headers, b"sec-ch-ua-mobile") == "?1":
        return MOBILE
    return DESKTOP if _DESKTOP.search(agent) else OTHER
