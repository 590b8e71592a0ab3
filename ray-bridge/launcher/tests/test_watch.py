"""The watch of an engine: which lines are due, and how a watch begins and ends, without a server."""

import asyncio
import json
import unittest
from unittest import mock

import rayfleet_watch
from rayfleet_middleware import InFlightMiddleware
from rayfleet_watch import BEAT_SECONDS, COUNTS_SECONDS, LONGEST_SECONDS, Lines
from tests.test_middleware import Case, scope

STATE = {"health": 200, "draining": False, "rankChanges": 0, "inFlight": 0, "idleSeconds": None}


class DueLines(unittest.TestCase):
    def setUp(self):
        self.lines = Lines()
        self.assertTrue(self.due(100.0))

    def due(self, now, **changed):
        return self.lines.due(now, {**STATE, **changed})

    def test_the_first_line_is_the_whole_state(self):
        self.assertEqual(json.loads(Lines().due(0.5, STATE)), STATE)

    def test_what_matters_is_due_at_once(self):
        for changed in ({"health": 503}, {"health": None}, {"draining": True}, {"rankChanges": 1}):
            self.assertEqual(json.loads(self.due(100.1, **changed)), {**STATE, **changed})

    def test_counts_are_due_once_a_second(self):
        self.assertEqual(self.due(99.9 + COUNTS_SECONDS, inFlight=1), b"")
        self.assertEqual(json.loads(self.due(100.0 + COUNTS_SECONDS, inFlight=1))["inFlight"], 1)
        self.assertEqual(self.due(100.1 + COUNTS_SECONDS, inFlight=2), b"")

    def test_without_a_change_there_are_empty_lines(self):
        self.assertEqual(self.due(99.9 + BEAT_SECONDS, idleSeconds=1.0), b"")
        self.assertEqual(self.due(100.0 + BEAT_SECONDS, idleSeconds=2.0), b"\n")
        self.assertEqual(self.due(100.1 + BEAT_SECONDS, idleSeconds=3.0), b"")


class Watching(Case):
    """A watch through the middleware, whose ticks take no time."""

    def setUp(self):
        super().setUp()
        for name in ("TICK_SECONDS", "HEALTH_SECONDS"):
            patch = mock.patch.object(rayfleet_watch, name, 0.0)
            patch.start()
            self.addCleanup(patch.stop)
        self.health = 200
        self.asked = []

    async def app(self, scope_, receive, send):
        self.asked.append((scope_["method"], scope_["path"], scope_["headers"], await receive()))
        await send({"type": "http.response.start", "status": self.health, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def watch(self, on_line, scope_=None, app=None, receiver=None):
        """Watches; `on_line(number, line)` says whether its client goes. Returns what was sent."""
        sent, gone = [], None

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if message.get("body", b"").strip():
                if on_line(len(sent) - 1, json.loads(message["body"])):
                    gone.set()

        async def run():
            nonlocal gone
            gone = asyncio.Event()
            middleware = InFlightMiddleware(app or self.app, self.traffic)
            await asyncio.wait_for(middleware(scope_ or scope("/rayfleet/v1/watch"), receiver or receive, send), 10)
            for _ in range(5):  # rounds of the loop in which its tasks end
                await asyncio.sleep(0)
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})

        asyncio.run(run())
        return sent

    def test_it_begins_with_the_state_and_ends_with_its_client(self):
        lines = []
        sent = self.watch(lambda _number, line: lines.append(line) or True)
        self.assertEqual(sent[0]["status"], 200)
        self.assertEqual((lines[0]["name"], lines[0]["health"], lines[0]["inFlight"]), ("e1", 200, 0))
        self.assertEqual(len(lines), 1)

    def test_it_is_no_request_in_flight(self):
        during = []
        self.watch(lambda _number, line: during.append((line["inFlight"], line["served"], line["idleSeconds"])) or True)
        self.assertEqual(during, [(0, 0, None)])
        self.assertEqual((self.state()["served"], self.traffic.watches), (0, 0))

    def test_the_application_is_asked_for_its_health_alone(self):
        self.watch(lambda _number, _line: True, scope("/llm/rayfleet/v1/watch", root_path="/llm", headers=[(b"cookie", b"c"), (b"host", b"h")]))
        self.assertEqual(self.asked[0][:3], ("GET", "/llm/health", [(b"host", b"h")]))

    def test_a_call_of_the_launcher_is_a_line(self):
        def on_line(_number, line):
            self.traffic.rank_changes += 1
            return line["rankChanges"] == 1

        sent = self.watch(on_line)
        self.assertEqual(json.loads(sent[2]["body"])["rankChanges"], 1)

    def test_the_launcher_calls_watchers_by_a_post(self):
        self.assertEqual(self.exchange(scope("/rayfleet/v1/rank-changes"))[0], 405)
        self.exchange(scope("/rayfleet/v1/rank-changes", "POST"))
        self.assertEqual(self.state()["rankChanges"], 1)

    def test_an_engine_that_is_ill_says_so_and_ends_the_watch(self):
        def on_line(_number, _line):
            self.health = 503
            return False

        sent = self.watch(on_line)
        self.assertEqual([json.loads(message["body"])["health"] for message in sent[1:3]], [200, 503])
        self.assertFalse(sent[-1]["more_body"])

    def test_an_application_that_fails_is_ill(self):
        async def app(_scope, _receive, _send):
            raise RuntimeError("boom")

        self.assertEqual(json.loads(self.watch(lambda _number, _line: False, app=app)[1]["body"])["health"], 500)

    def test_an_application_that_does_not_answer_has_no_health(self):
        async def app(_scope, _receive, _send):
            await asyncio.get_running_loop().create_future()

        with mock.patch.object(rayfleet_watch, "HEALTH_LIMIT", 0.01):
            sent = self.watch(lambda _number, _line: False, app=app)
        self.assertIsNone(json.loads(sent[1]["body"])["health"])

    def test_a_handler_that_cannot_be_cancelled_holds_no_watch(self):
        """As one of FastAPI that runs in a thread."""
        asked, release = [], []

        async def app(_scope, _receive, _send):
            asked.append(True)
            while not release:
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    pass

        async def run():
            async def receive():
                await asyncio.get_running_loop().create_future()

            lines = []

            async def send(message):
                lines.append(message)

            await InFlightMiddleware(app, self.traffic)(scope("/rayfleet/v1/watch"), receive, send)
            release.append(True)
            return lines

        with mock.patch.object(rayfleet_watch, "HEALTH_LIMIT", 0.05):
            lines = asyncio.run(asyncio.wait_for(run(), 10))
        self.assertIsNone(json.loads(lines[1]["body"])["health"])
        self.assertEqual((len(asked), self.traffic.watches), (1, 0))

    def test_it_ends_when_the_transport_closes(self):
        transport = mock.Mock(is_closing=mock.Mock(return_value=False))

        class Cycle:
            keep_alive = True

            async def receive(self):
                await asyncio.get_running_loop().create_future()

        cycle = Cycle()
        cycle.transport = transport

        def on_line(_number, _line):
            transport.is_closing.return_value = True
            return False

        self.watch(on_line, receiver=cycle.receive)
        self.assertEqual(self.traffic.watches, 0)

    def test_it_ends_when_its_time_is_over(self):
        def on_line(_number, _line):
            self.clock.now += LONGEST_SECONDS
            return False

        self.assertFalse(self.watch(on_line)[-1]["more_body"])

    def test_it_ends_when_its_server_shuts_down(self):
        class Cycle:
            keep_alive = True

            async def receive(self):
                await asyncio.get_running_loop().create_future()

        cycle = Cycle()

        def on_line(_number, _line):
            cycle.keep_alive = False
            return False

        self.assertFalse(self.watch(on_line, receiver=cycle.receive)[-1]["more_body"])

    def test_it_does_not_wait_for_a_client_that_does_not_read(self):
        async def run():
            async def receive():
                await asyncio.get_running_loop().create_future()

            async def send(message):
                if message["type"] == unread:
                    await asyncio.get_running_loop().create_future()

            await InFlightMiddleware(self.app, self.traffic)(scope("/rayfleet/v1/watch"), receive, send)

        for unread in ("http.response.start", "http.response.body"):
            with mock.patch.object(rayfleet_watch, "SEND_LIMIT", 0.01):
                asyncio.run(asyncio.wait_for(run(), 10))
        self.assertEqual(self.traffic.watches, 0)

    def test_while_draining_it_does_not_close_its_connection(self):
        self.traffic.draining = True
        sent = self.watch(lambda _number, line: line["draining"])
        self.assertNotIn(b"connection", dict(sent[0]["headers"]))

    def test_concurrent_watches_are_limited(self):
        self.traffic.watches = 8
        self.assertEqual(self.exchange(scope("/rayfleet/v1/watch"))[0], 503)

    def test_it_needs_the_token(self):
        with mock.patch.dict("os.environ", {"RAY_AUTH_TOKEN": "s3cret"}):
            self.assertEqual(self.exchange(scope("/rayfleet/v1/watch"))[0], 401)
            self.assertEqual(self.exchange(scope("/rayfleet/v1/rank-changes", "POST"))[0], 401)
            sent = self.watch(lambda _number, _line: True, scope("/rayfleet/v1/watch", headers=[(b"authorization", b"Bearer s3cret")]))
            self.assertEqual(sent[0]["status"], 200)


if __name__ == "__main__":
    unittest.main()
