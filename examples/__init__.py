"""Examples that go the whole way. Each is run from the root of the project: ``python -m examples.flights.demo``."""

import os

# Read once, when scikit-learn is loaded: threads that spin while they wait make training ten times slower on a machine
# that has other work to do as well.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
