"""What an error report of Django may show: a local variable may hold a password."""

from __future__ import annotations

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from common.redaction import is_secret, redact, redact_value

LONGEST = 4096  # characters of a value; Django's report cuts it there too


class WithoutValues(SafeExceptionReporterFilter):
    """Names the variables of a frame and masks their values.

    With RAINBO_DEBUG on, only what looks like a secret is masked in them.
    """

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        if is_secret(str(key), value):
            return self.cleansed_substitute
        cleansed = super().cleanse_setting(key, value)
        # Lazy values of django-axes pass for str and are none.
        return redact(str(cleansed)) if isinstance(cleansed, str) else cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        given = super().get_post_parameters(request)
        return given if request is None else redacted_query(given)

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        if self.is_active(request):
            return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()
        found = super().get_traceback_frame_variables(request, tb_frame)
        return {name: self._shown(name, value) for name, value in found}.items()

    def _shown(self, name: str, value: Any) -> Any:
        if is_secret(name, value):
            return self.cleansed_substitute
        try:
            return _AsIs(redact(repr(value)[:LONGEST]))
        except Exception as error:  # noqa: BLE001 (any object may be in a frame)
            return _AsIs(f"not shown: {type(error).__name__}")


class _AsIs(str):
    """A text that a report quotes without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class WithoutSecrets(ExceptionReporter):
    """Masks the secrets in an error's message and in the address that was asked for."""

    def get_traceback_data(self) -> dict[str, Any]:
        data = super().get_traceback_data()
        for name in ("exception_value", "exception_notes", "request_insecure_uri", "unicode_hint"):
            if name in data:
                data[name] = redact(data[name])
        if self.request is not None:
            data["request_GET_items"] = redacted_query(self.request.GET).items()
            data["request"] = _Asked(self.request)
        return data

    def get_traceback_frames(self) -> list[Any]:
        frames = super().get_traceback_frames()
        for frame in frames:
            if frame.get("exc_cause") is not None:
                frame["exc_cause"] = redact(str(frame["exc_cause"]))
        return frames


class _Asked:
    """A request as the report's template reads it: by its address and its method alone."""

    def __init__(self, request: HttpRequest) -> None:
        self.path_info = redact(request.path_info)
        self.META = {"REQUEST_METHOD": request.META.get("REQUEST_METHOD", "")}
        self.GET, self.POST = bool(request.GET), bool(request.POST)
        self.FILES, self.COOKIES = bool(request.FILES), bool(request.COOKIES)


def redacted_query(given: QueryDict | dict[str, Any]) -> dict[str, Any]:
    return {redact(name): redact_value(name, value) for name, value in given.items()}
