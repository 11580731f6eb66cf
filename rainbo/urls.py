from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from rainbo import now, own_password
from rainbo import second_factor_pages as pages
from tenants.admin.find import views

inside = admin.site.admin_view
handler403 = "rainbo.refusals.refuse"
handler500 = "rainbo.patience.failed"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/password_change/", inside(own_password.change_view)),
    path("admin/second-factor/", inside(pages.own_view), name="second_factor"),
    path("admin/second-factor/code/", inside(pages.code_view), name="second_factor_code"),
    path("admin/second-factor/enrol/", inside(pages.enrol_view), name="second_factor_enrol"),
    path("admin/second-factor/codes/", inside(pages.codes_view), name="second_factor_codes"),
    path("admin/second-factor/remove/", inside(pages.remove_view), name="second_factor_remove"),
    path("admin/find/", inside(views.view), name="find"),
    path("admin/now/", inside(now.fragment), name="now"),
    path("admin/", admin.site.urls),
]
