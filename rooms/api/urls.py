from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from rooms.api import views
from rooms.api.asyncapi import asyncapi

TENANT = "tenants/<str:tenant>/"
ROOM = f"{TENANT}rooms/<str:room>/"

urlpatterns = [
    path("tickets/", views.Tickets.as_view()),
    path("tenants/", views.Tenants.as_view()),
    path(TENANT, views.Tenant.as_view()),
    path(f"{TENANT}members/", views.Members.as_view()),
    path(f"{TENANT}members/<str:user>/", views.Member.as_view()),
    path(f"{TENANT}rooms/", views.Rooms.as_view()),
    path(ROOM, views.Room.as_view()),
    path(f"{ROOM}members/", views.Participants.as_view()),
    path(f"{ROOM}members/<str:user>/", views.Participant.as_view()),
    path(f"{ROOM}messages/", views.Messages.as_view()),
    path(f"{ROOM}messages/<str:id>/", views.Message.as_view()),
    path(f"{ROOM}events/", views.EventLog.as_view()),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("asyncapi.json", asyncapi, name="asyncapi"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="rooms/api_docs.html"),
    ),
]
