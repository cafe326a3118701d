"""The site's addresses. Rooms bring their own: pages, REST API, health; presence its part of REST."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

admin.site.site_header = admin.site.site_title = "Live rooms"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("", include("rooms.urls")),
    path("", include("presence.urls")),
]
