"""What an error report of Django may show: a local variable may hold a password."""

from __future__ import annotations

from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class WithoutValues(SafeExceptionReporterFilter):
    """Names the variables of a frame and masks their values, unless RAINBO_DEBUG is on."""

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> list[tuple[str, Any]]:
        if not self.is_active(request):
            return list(super().get_traceback_frame_variables(request, tb_frame))
        return [(name, self.cleansed_substitute) for name in tb_frame.f_locals]
