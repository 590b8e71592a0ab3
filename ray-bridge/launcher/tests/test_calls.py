"""How the launcher calls the watchers of its engine: over a real socket, and when."""

import os
import socket
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from unittest import mock

import rayfleet_launcher
from rayfleet_calls import call_watchers
from rayfleet_nodes import LivingNodes
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
        self.assertEqual(self.call(RAY_AUTH_TOKEN="s3cret"), [("/rayfleet/v1/rank-changes", "Bearer s3cret")])

    def test_without_authentication_it_sends_no_token(self):
        self.assertEqual(self.call(), [("/rayfleet/v1/rank-changes", None)])

    def answered(self, answer):
        """Whether a server that answers these bytes, whatever they are, has taken the call."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                with server.accept()[0] as client:
                    client.recv(65536)
                    client.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            taken = call_watchers("127.0.0.1", server.getsockname()[1])
            thread.join()
            return taken

    def test_what_the_server_answers_is_no_error(self):
        self.assertTrue(self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        self.assertTrue(self.answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        self.assertFalse(self.answered(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
        self.assertFalse(self.answered(b"no HTTP\r\n\r\n"))
        self.assertFalse(self.answered(b""))

    def test_the_token_follows_no_redirect(self):
        there = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{self.server.server_port}/\r\nContent-Length: 0\r\n\r\n"
        with mock.patch.dict(os.environ, {"RAY_AUTH_TOKEN": "s3cret"}, clear=True):
            self.answered(there.encode())
        self.assertEqual(self.asked, [])

    def test_a_server_that_is_gone_is_no_error(self):
        self.server.socket.close()
        self.assertFalse(call_watchers("127.0.0.1", self.server.server_port, timeout=0.2))


class WhenToCall(unittest.TestCase):
    """Looks of a launcher, with what Ray reports at each of them."""

    def launch(self, phase):
        spec = SimpleNamespace(name="e", nodes=["a", "b"], port=8000)
        launch = rayfleet_launcher.Launch(spec, SimpleNamespace(current=phase), None)
        launch.group = launch.address = "x"
        return launch

    def look(self, launch, states, nodes, taken=True):
        """The number of calls of one look; `states` is None if ranks cannot be read, `nodes` if those cannot."""
        found = mock.Mock(side_effect=RuntimeError("no dashboard"))
        if states is not None:
            found = mock.Mock(return_value=[Rank("r", state, "n", "", 1, "id") for state in states])
        launch._nodes = mock.Mock(living=mock.Mock(return_value=nodes))
        with (
            mock.patch.object(rayfleet_launcher, "ranks", found),
            mock.patch.object(rayfleet_launcher, "call_watchers", return_value=taken) as call,
            mock.patch("builtins.print"),
        ):
            launch._look()
        return call.call_count

    def calls(self, phase, *looks):
        launch = self.launch(phase)
        return [self.look(launch, *look) for look in looks]

    def test_other_ranks_or_nodes_are_a_call(self):
        well = (["ALIVE", "ALIVE"], 3)
        self.assertEqual(self.calls("Serving", well, well, (["ALIVE", "DEAD"], 3), (["ALIVE", "DEAD"], 2))[1:], [0, 1, 1])

    def test_ranks_that_cannot_be_read_are_a_call_each_time_and_nodes_one_in_ten_seconds(self):
        self.assertEqual(self.calls("Serving", (None, 1), (None, 1)), [1, 1])
        self.assertEqual(self.calls("Serving", (["ALIVE"], None), (["ALIVE"], None), (["ALIVE"], 1)), [1, 0, 1])
        self.assertEqual(self.calls("Serving", (["ALIVE"], None), (["DEAD"], None)), [1, 1])
        swings = [(["ALIVE"], 1), (["ALIVE"], None), (["ALIVE"], 1), (["ALIVE"], None), (["ALIVE"], 1)]
        self.assertEqual(self.calls("Serving", *swings), [1, 1, 1, 0, 0])

    def test_a_call_that_was_not_taken_is_repeated(self):
        launch, well = self.launch("Serving"), ["ALIVE", "ALIVE"]
        self.assertEqual([self.look(launch, well, 3, taken) for taken in (False, True, True)], [1, 1, 0])

    def test_an_engine_that_does_not_serve_has_no_watchers(self):
        self.assertEqual(self.calls("Loading", (["ALIVE", "ALIVE"], 3), (["ALIVE", "DEAD"], 3)), [0, 0])

    def test_a_dead_rank_counts_whatever_is_known_of_nodes(self):
        launch = self.launch("Serving")
        self.look(launch, ["ALIVE", "DEAD"], None)
        self.assertGreater(launch._died, 0.0)


class CountingNodes(unittest.TestCase):
    def test_only_living_nodes_count(self):
        nodes = LivingNodes(lambda: [{"Alive": True}, {"Alive": False}, {"Alive": True}])
        self.assertEqual(nodes.living(), 2)

    def test_a_call_that_hangs_or_fails_is_not_waited_for_nor_repeated_beside_itself(self):
        hangs, asked = threading.Event(), []

        def read():
            asked.append(time.monotonic())
            hangs.wait()
            return [{"Alive": True}]

        nodes = LivingNodes(read)
        self.assertEqual([nodes.living(0.01), nodes.living(0.01), len(asked)], [None, None, 1])
        hangs.set()
        self.assertEqual(nodes.living(), 1)
        self.assertIsNone(LivingNodes(lambda: 1 / 0).living())


if __name__ == "__main__":
    unittest.main()
