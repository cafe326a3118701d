"""A model of a host's own, told of in the room ``orders`` of its tenant."""

from django.db import models


class Order(models.Model):
    tenant = models.ForeignKey("rooms.Tenant", models.CASCADE, related_name="+")
    room = models.CharField(max_length=50, default="orders")
    dish = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="open")
    secret = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.dish
