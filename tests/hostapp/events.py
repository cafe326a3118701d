from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from django.contrib.auth import get_user_model

import rooms
from rooms import services
from tests.hostapp.models import Course

if TYPE_CHECKING:
    from tests.hostapp.models import Order


@rooms.event("order.created")
@rooms.event("order.updated")
class OrderEvent(msgspec.Struct, frozen=True):
    id: str
    dish: str
    status: str

    @classmethod
    def from_row(cls, row: Order) -> OrderEvent:
        return cls(str(row.pk), row.dish, row.status)


@rooms.event("order.deleted")
class OrderDeleted(msgspec.Struct, frozen=True):
    id: str

    @classmethod
    def from_row(cls, row: Order) -> OrderDeleted:
        return cls(str(row.pk))


class Dismiss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str


@rooms.command("course.dismiss", Dismiss, right=rooms.Right.MODERATE)
def dismiss(call: rooms.Call, data: Dismiss) -> None:
    """A teacher sends a person out of the course of this room."""
    course = Course.objects.filter(room=call.room).first()
    enrolment = course and course.enrolments.filter(user=data.user).select_related("user").first()
    if not course or not enrolment:
        raise rooms.Refused("not_found", "There is no such person.")
    course.dismiss(enrolment.user)


@rooms.command("course.expel", Dismiss, right=rooms.Right.MODERATE)
def expel(call: rooms.Call, data: Dismiss) -> None:
    """And sees to it that they do not come back."""
    dismiss(call, data)
    user = get_user_model()._default_manager.get(pk=data.user)
    services.members.set_part(call.room, user, "banned", by=call.user)
