"""``manage.py tidy``: forget what is too old to be asked for. For cron, once an hour or once a day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from rooms import audit, commands, log
from rooms.conf import config
from rooms.models import Room
from rooms.signals import tidying


class Command(BaseCommand):
    help = (
        "Trim every room's log to ROOMS['LOG_EVENTS'] events of the last ROOMS['LOG_DAYS'] days, and forget the "
        "answers to commands that are older than ROOMS['RESULT_DAYS'] days, and changes of access that are older than "
        "ROOMS['AUDIT_DAYS'] days. Messages stay, and so does the newest value of each key. A reader whose place was "
        "trimmed away is told to load afresh. Other apps forget theirs. Safe while the site runs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        settings, now = config(), timezone.now()
        since = now - timedelta(days=settings.log_days)
        events = rooms = 0
        for room in Room.objects.order_by("pk").values_list("pk", flat=True):  # one transaction and one lock each
            gone = log.trim(room, keep=settings.log_events, since=since)
            events += gone
            rooms += gone > 0
        answers = commands.forget(now - timedelta(days=settings.result_days))
        seen = audit.forget(now - timedelta(days=settings.audit_days))
        self.stdout.write(
            f"Gone: {_count(events, 'event')} of {_count(rooms, 'room')}, {_count(answers, 'answer')} to commands, "
            f"{_count(seen, 'change')} of access."
        )
        for _, sentence in tidying.send(sender=Room):  # one that fails is a failure of the command
            if sentence:
                self.stdout.write(sentence)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
