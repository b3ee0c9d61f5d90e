"""The pages of a Django project that has none."""

from typing import Any

urlpatterns: list[Any] = []
