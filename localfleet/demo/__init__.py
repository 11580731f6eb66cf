"""The demo: RAINBO with a fleet of its own, started, watched and stopped."""
