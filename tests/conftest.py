"""Shared by all tests."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["roofwright.tools.pytest_plugin"]

# A busy machine is slow, not wrong; the same examples every time, so that a red run can be repeated.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
