"""The preparation of the API server's actor, without Ray and without an engine."""

import unittest

from rayfleet_server import listening


class Listening(unittest.TestCase):
    def test_an_ipv6_node_listens_on_ipv6(self):
        argv = ("/m", "--host", "0.0.0.0", "--port", "8000", "--name", "0.0.0.0")
        self.assertEqual(listening(argv, "fd00::7"), ["/m", "--host", "::", "--port", "8000", "--name", "0.0.0.0"])
        self.assertEqual(listening(argv, "10.0.0.7"), list(argv))


if __name__ == "__main__":
    unittest.main()
