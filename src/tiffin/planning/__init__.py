"""From a request to a plan, purely: no I/O, no clock, no threads."""
