"""Unit tests that need no Ray."""
