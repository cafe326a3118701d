from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from rooms import access
from rooms.api.mixins import PublishesChanges
from rooms.contract import Right
from tests.hostapp.models import Course, Order


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


@extend_schema(request=None, responses=None)
class Pupil(APIView):
    """PUT enrols a person in a course, DELETE dismisses them. For who manages the course's room."""

    def put(self, request: Request, course: int, user: int) -> Response:
        self._course(course).enrol(self._person(user), teaches=bool(request.data.get("teaches")))
        return Response(status=204)

    def delete(self, request: Request, course: int, user: int) -> Response:
        self._course(course).dismiss(self._person(user))
        return Response(status=204)

    def _course(self, number: int) -> Course:
        course = get_object_or_404(Course.objects.select_related("room__tenant"), pk=number)
        access.authorize(self.request.user.pk, course.room.address).require(Right.MANAGE)
        return course

    def _person(self, number: int) -> Any:
        return get_object_or_404(get_user_model(), pk=number)
