"""Where the views are."""

from django.urls import path

from website import views

urlpatterns = [
    path("sign-up", views.sign_up),
    path("tasks/<str:id>", views.status),
]
