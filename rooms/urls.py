"""Everything of rooms that a site mounts at its root: REST, pages, health. The live addresses are in ``routing``."""

from django.urls import include, path

from rooms import health, views

urlpatterns = [
    path("", views.home, name="rooms-home"),
    path("t/<str:tenant>/<str:room>/", views.room, name="rooms-room"),
    path("api/", include("rooms.api.urls")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]
