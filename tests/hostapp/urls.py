"""The whole site, with the host's own API beside it."""

from django.urls import include, path
from django.views.generic import TemplateView
from rest_framework.routers import SimpleRouter

from tests.hostapp.views import OrderViewSet, Pupil

router = SimpleRouter()
router.register("orders", OrderViewSet, basename="order")

urlpatterns = [
    path("host/desk/", TemplateView.as_view(template_name="hostapp/desk.html")),
    path("host/courses/<int:course>/people/<int:user>/", Pupil.as_view()),
    path("host/", include(router.urls)),
    path("", include("realtime_project.urls")),
]
