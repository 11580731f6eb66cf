from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from rainbo.auth import password_change, second_factor_views
from rainbo.dashboard import monitoring
from rainbo.dashboard.views import fragment
from tenants.admin.find.views import view

admin.autodiscover()
inside = admin.site.admin_view
handler400 = "rainbo.database_timeouts.rejected"
handler403 = "rainbo.auth.permission_denied.reject"
handler500 = "rainbo.database_timeouts.failed"

urlpatterns = [
    path("", include("api.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/password_change/", inside(password_change.change_view)),
    path("admin/second-factor/", inside(second_factor_views.own_view), name="second_factor"),
    path(
        "admin/second-factor/code/",
        inside(second_factor_views.code_view),
        name="second_factor_code",
    ),
    path(
        "admin/second-factor/enrol/",
        inside(second_factor_views.enrol_view),
        name="second_factor_enrol",
    ),
    path(
        "admin/second-factor/codes/",
        inside(second_factor_views.codes_view),
        name="second_factor_codes",
    ),
    path(
        "admin/second-factor/remove/",
        inside(second_factor_views.remove_view),
        name="second_factor_remove",
    ),
    path("admin/find/", inside(view), name="find"),
    path("admin/now/", inside(fragment), name="now"),
    path("admin/monitoring/", inside(monitoring.view), name="monitoring"),
    # The addresses of the consoles that this one replaces
    path(
        "dashboard/monitoring", RedirectView.as_view(pattern_name="monitoring", query_string=True)
    ),
    path(
        "dashboard/integrations",
        RedirectView.as_view(pattern_name="admin:integrations_connection_changelist"),
    ),
    path("admin/", admin.site.urls),
]
