"""What ``manage.py tidy`` forgets here."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from presence import store
from rooms.signals import tidying


@receiver(tidying)
def forget(**kwargs: Any) -> str | None:
    """Visits of accounts and to rooms that are no more: no constraint binds them."""
    gone = store.forget()
    return f"Gone: {gone} visit{'' if gone == 1 else 's'} of accounts or rooms that are gone." if gone else None
