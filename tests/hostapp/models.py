"""Models of a host's own: orders, told of in a room of their tenant, and courses, each with a room for its people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models, transaction

import rooms


class Order(models.Model):
    tenant = models.ForeignKey("rooms.Tenant", models.CASCADE, related_name="+")
    room = models.CharField(max_length=50, default="orders")
    dish = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="open")
    secret = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.dish


class Course(models.Model):
    room = models.OneToOneField("rooms.Room", models.CASCADE, related_name="+")
    title = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.title

    def enrol(self, user: Any, *, teaches: bool = False) -> Enrolment:
        with transaction.atomic():
            enrolment, _ = Enrolment.objects.update_or_create(course=self, user=user, defaults={"teaches": teaches})
            rooms.access_changed(users=[user])
        return enrolment

    def dismiss(self, user: Any) -> None:
        with transaction.atomic():
            Enrolment.objects.filter(course=self, user=user).delete()
            rooms.access_changed(users=[user])


class Enrolment(models.Model):
    course = models.ForeignKey(Course, models.CASCADE, related_name="enrolments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    teaches = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["course", "user"], name="hostapp_enrolment_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.course}"
