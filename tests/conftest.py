"""Shared by all tests."""

pytest_plugins = ["roofwright.tools.pytest_plugin"]
