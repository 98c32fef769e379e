"""The published methods as pure tensor functions."""
