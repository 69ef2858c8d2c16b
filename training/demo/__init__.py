"""The demo: an embedded broker, a simulated fleet of pumps and the real daemon."""
