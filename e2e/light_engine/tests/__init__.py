"""Unit tests of what needs no Ray."""
