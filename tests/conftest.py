"""What holds for all tests: a property is judged by values and not by how fast the machine made and tried them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_OF_SPEED_OR_CHANCE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile("tests", deadline=None, print_blob=True, suppress_health_check=_OF_SPEED_OR_CHANCE)
settings.load_profile("tests")
