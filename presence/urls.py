"""What a site mounts at its root beside ``rooms.urls``."""

from django.urls import path

from presence import api
from rooms.api.urls import ROOM

urlpatterns = [
    path(f"api/{ROOM}presence/", api.People.as_view(), name="presence-people"),
    path(f"api/{ROOM}presence/<str:user>/", api.Person.as_view(), name="presence-person"),
]
