from __future__ import annotations

from typing import Any

from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from rooms.api.mixins import PublishesChanges
from tests.hostapp.models import Order


class OrderSerializer(ModelSerializer[Order]):
    class Meta:
        model = Order
        fields = ("id", "tenant", "room", "dish", "status", "secret")


class OrderViewSet(PublishesChanges, ModelViewSet[Order]):
    resource = "order"
    serializer_class = OrderSerializer

    def get_queryset(self) -> Any:
        return Order.objects.filter(tenant__memberships__user=self.request.user.pk).select_related("tenant")

    def get_room(self, instance: Order) -> str:
        return f"{instance.tenant.slug}/{instance.room}"
