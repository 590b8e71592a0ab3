"""How the launcher calls the watchers of its engine: over a real socket, and when."""

import os
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from unittest import mock

import rayfleet_launcher
from rayfleet_health import call_watchers
from rayfleet_ranks import Rank


class CallingWatchers(unittest.TestCase):
    def setUp(self):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append((self.path, self.headers.get("Authorization")))
                self.send_error(404)

            def log_message(self, *_args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.server_close)

    def call(self, **environment):
        with mock.patch.dict(os.environ, environment, clear=True):
            call_watchers("127.0.0.1", self.server.server_port)
        return self.asked

    def test_it_posts_with_the_token_and_bears_an_engine_without_watchers(self):
        self.assertEqual(self.call(RAY_AUTH_TOKEN="s3cret"), [("/rayfleet/v1/look", "Bearer s3cret")])

    def test_without_authentication_it_sends_no_token(self):
        self.assertEqual(self.call(), [("/rayfleet/v1/look", None)])

    def test_a_server_that_is_gone_is_no_error(self):
        self.server.socket.close()
        call_watchers("127.0.0.1", self.server.server_port, timeout=0.2)


class WhenToCall(unittest.TestCase):
    """Looks of a launcher, with what Ray reports at each of them."""

    def calls(self, phase, *looks):
        spec = SimpleNamespace(name="e", nodes=["a", "b"], port=8000)
        launch = rayfleet_launcher.Launch(spec, SimpleNamespace(current=phase), None)
        launch.group = launch.address = "x"
        calls = []
        for states, nodes in looks:
            found = [Rank("r", state, "n", "", 1, "id") for state in states]
            reads = mock.Mock(return_value=found) if nodes else mock.Mock(side_effect=RuntimeError("no dashboard"))
            with (
                mock.patch.object(rayfleet_launcher, "ranks", reads),
                mock.patch.object(rayfleet_launcher, "_living_nodes", return_value=nodes),
                mock.patch.object(rayfleet_launcher, "call_watchers") as call,
                mock.patch("builtins.print"),
            ):
                launch._look()
            calls.append(call.call_count)
        return calls

    def test_other_ranks_or_nodes_are_a_call(self):
        well = (["ALIVE", "ALIVE"], 3)
        self.assertEqual(self.calls("Serving", well, well, (["ALIVE", "DEAD"], 3), (["ALIVE", "DEAD"], 2))[1:], [0, 1, 1])

    def test_ranks_that_cannot_be_read_are_a_call_each_time(self):
        self.assertEqual(self.calls("Serving", (["ALIVE"], 0), (["ALIVE"], 0)), [1, 1])

    def test_an_engine_that_does_not_serve_has_no_watchers(self):
        self.assertEqual(self.calls("Loading", (["ALIVE", "ALIVE"], 3), (["ALIVE", "DEAD"], 3)), [0, 0])


if __name__ == "__main__":
    unittest.main()
