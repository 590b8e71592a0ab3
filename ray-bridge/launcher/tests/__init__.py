"""Tests of the launcher's modules, without Ray: `python -m unittest discover ray-bridge/launcher`."""
