from __future__ import annotations

from django.urls import path

from localfleet.application import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in", views.sign_in, name="sign_in"),
    path("sign-out", views.sign_out, name="sign_out"),
    path("tenants/<str:tenant>/", views.tenant_page, name="tenant"),
    path("tenants/<str:tenant>/locations", views.add_location, name="add_location"),
    path("account/password", views.password, name="password"),
]
