"""Tests of the launcher's modules; none of them needs Ray: `python -m unittest discover ray-bridge/launcher`."""
