"""Counting, draining and authorization, with hand-made ASGI applications and no server."""

import asyncio
import json
import logging
import os
import tempfile
import unittest
from unittest import mock

from rayfleet_middleware import KEEP_ALIVE_SECONDS, QUIET_PROBES, TRAFFIC, InFlightMiddleware, Traffic


class Clock:
    """A clock that advances only when set."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def scope(path, method="GET", headers=(), **more):
    return {"type": "http", "http_version": "1.1", "method": method, "path": path, "headers": list(headers), **more}


class Case(unittest.TestCase):
    def setUp(self):
        self.clock = Clock()
        self.traffic = Traffic(self.clock)
        environment = mock.patch.dict(os.environ, {"RAYFLEET_ENGINE_NAME": "e1"}, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def exchange(self, scope_, app=None, incoming=()):
        """Runs one request to its end; returns (status, headers, body)."""
        messages = list(incoming) or [{"type": "http.request", "body": b"", "more_body": False}]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(InFlightMiddleware(app or self.app, self.traffic)(scope_, receive, send))
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], dict(sent[0].get("headers", ())), body

    async def app(self, _scope, _receive, send):
        self.seen = self.traffic.report()["inFlight"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"keep-alive")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def state(self, headers=()):
        status, _, body = self.exchange(scope("/rayfleet/v1/state", headers=headers))
        self.assertEqual(status, 200)
        return json.loads(body)


class Counting(Case):
    def test_a_request_counts_while_it_runs_and_is_served_after(self):
        self.exchange(scope("/v1/completions", "POST"))
        self.assertEqual(self.seen, 1)
        state = self.state()
        self.assertEqual((state["name"], state["inFlight"], state["served"]), ("e1", 0, 1))

    def test_probes_scrapes_and_control_do_not_count(self):
        for path in ("/health", "/ping", "/metrics", "/version", "/rayfleet/v1/state", "/rayfleet/v1/other"):
            self.exchange(scope(path))
        self.assertEqual(self.state()["served"], 0)
        self.assertIsNone(self.state()["idleSeconds"])

    def test_probes_behind_a_root_path_do_not_count(self):
        self.exchange(scope("/llm/health", root_path="/llm"))
        self.assertEqual(self.state()["served"], 0)

    def test_a_stream_counts_until_its_last_chunk(self):
        during = []

        async def app(_scope, _receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            during.append(self.traffic.report()["inFlight"])
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            during.append(self.traffic.report()["inFlight"])

        self.exchange(scope("/v1/completions"), app)
        self.assertEqual(during, [1, 0])
        self.assertEqual(self.state()["served"], 1)

    def test_a_client_that_disconnects_ends_its_request_once(self):
        async def app(_scope, receive, send):
            await receive()
            self.assertEqual(self.traffic.report()["inFlight"], 0)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        self.exchange(scope("/v1/completions"), app, [{"type": "http.disconnect"}])
        self.assertEqual((self.state()["inFlight"], self.state()["served"]), (0, 1))

    def test_a_failing_application_ends_its_request(self):
        async def app(_scope, _receive, _send):
            raise RuntimeError("boom")

        with self.assertRaises(RuntimeError):
            self.exchange(scope("/v1/completions"), app)
        self.assertEqual(self.state()["inFlight"], 0)

    def test_idle_time_starts_at_the_last_start_or_end_of_a_request(self):
        self.exchange(scope("/v1/completions"))
        self.clock.now += 12.5
        self.assertEqual(self.state()["idleSeconds"], 12.5)

    def kept(self, port=40000, answer=(), request=(), version="1.1"):
        """Connections that may be open after one exchange on one of them."""

        async def app(_scope, _receive, send):
            during.append(self.traffic.report()["keptConnections"])
            await send({"type": "http.response.start", "status": 200, "headers": list(answer)})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        during = []
        asked = scope("/v1/completions", "POST")
        self.exchange({**asked, "client": ("10.0.0.9", port), "http_version": version, "headers": list(request)}, app)
        return during[0], self.state()["keptConnections"]

    def test_a_connection_counts_from_a_response_to_the_next_request_or_its_end(self):
        self.assertEqual(self.kept(), (0, 1))
        self.assertEqual(self.kept(), (0, 1))
        self.assertEqual(self.kept(port=40001), (1, 2))
        self.clock.now += KEEP_ALIVE_SECONDS
        self.assertEqual(self.kept(port=40001), (1, 2), "a busy server closes it later")
        self.clock.now += 1.0
        self.assertEqual(self.state()["keptConnections"], 1)
        self.clock.now += KEEP_ALIVE_SECONDS
        self.assertEqual(self.state()["keptConnections"], 0)

    def test_a_connection_that_a_response_closes_does_not_count(self):
        close = [(b"Connection", b"close")]
        self.assertEqual(self.kept(request=close), (0, 0))
        self.assertEqual(self.kept(answer=close), (0, 0))
        self.assertEqual(self.kept(version="1.0"), (0, 0))
        self.exchange(scope("/v1/completions"))
        self.assertEqual(self.state()["keptConnections"], 0, "a server that names no client")
        self.kept()
        self.traffic.draining = True
        self.assertEqual(self.kept(port=40001), (1, 1))
        self.assertEqual(self.kept(), (0, 0))

    def test_probes_keep_no_connection(self):
        self.exchange({**scope("/health"), "client": ("10.0.0.9", 40000), "http_version": "1.1"})
        self.assertEqual(self.state()["keptConnections"], 0)

    def test_instances_share_the_counters_of_the_process(self):
        async def app(_scope, _receive, _send):
            raise AssertionError

        self.assertIs(InFlightMiddleware(app)._traffic, TRAFFIC)
        self.assertIs(InFlightMiddleware(app)._traffic, InFlightMiddleware(app)._traffic)

    def test_other_scopes_are_forwarded_unchanged(self):
        seen = []

        async def app(scope_, _receive, _send):
            seen.append(scope_["type"])

        asyncio.run(InFlightMiddleware(app, self.traffic)({"type": "lifespan"}, None, None))
        self.assertEqual(seen, ["lifespan"])


class WebSockets(Case):
    """A session is one request in flight from its handshake to its end, whatever ends it."""

    def session(self, incoming, app):
        """Runs one session to its end; returns the number in flight after each message that the application
        received or sent."""
        during, messages = [], [{"type": kind} for kind in incoming]

        async def receive():
            return messages.pop(0)

        async def send(_message):
            pass

        async def watched(_scope, receive_, send_):
            async def take():
                message = await receive_()
                during.append(self.traffic.report()["inFlight"])
                return message["type"]

            async def give(kind):
                await send_({"type": kind})
                during.append(self.traffic.report()["inFlight"])

            await app(take, give)

        scope_ = {"type": "websocket", "path": "/v1/realtime", "headers": []}
        asyncio.run(InFlightMiddleware(watched, self.traffic)(scope_, receive, send))
        report = self.traffic.report()
        self.assertEqual((report["inFlight"], report["awaiting"], report["served"]), (0, 0, 1))
        return during

    def test_a_session_is_in_flight_until_its_client_leaves(self):
        async def app(take, give):
            await take()
            await give("websocket.accept")
            while await take() != "websocket.disconnect":
                await give("websocket.send")

        incoming = ["websocket.connect", "websocket.receive", "websocket.disconnect"]
        self.assertEqual(self.session(incoming, app), [1, 1, 1, 1, 0])

    def test_a_session_is_in_flight_until_the_server_closes_it(self):
        async def app(take, give):
            await take()
            await give("websocket.accept")
            await give("websocket.close")
            await take()

        self.assertEqual(self.session(["websocket.connect", "websocket.disconnect"], app), [1, 1, 0, 0])

    def test_an_application_that_fails_ends_its_session(self):
        async def app(take, _give):
            await take()
            raise RuntimeError("boom")

        with self.assertRaises(RuntimeError):
            self.session(["websocket.connect"], app)
        self.assertEqual(self.traffic.report()["inFlight"], 0)


class Awaiting(Case):
    """Which requests wait for the engine, so that a stall can be detected."""

    def awaiting(self):
        return self.traffic.report()["awaiting"]

    def during(self, scope_, incoming=()):
        """The number of waiting requests while the application works, and while a response is being sent."""
        seen = []

        async def app(_scope, receive, send):
            while (await receive()).get("more_body"):
                seen.append(self.awaiting())
            seen.append(self.awaiting())
            await send({"type": "http.response.start", "status": 200, "headers": []})
            seen.append(self.awaiting())
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            seen.append(self.awaiting())
            await send({"type": "http.response.body", "body": b""})

        self.exchange(scope_, app, incoming)
        self.assertEqual(self.awaiting(), 0)
        return seen

    def test_a_request_waits_from_its_last_byte_to_the_last_byte_of_its_answer(self):
        body = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.request", "body": b"}"}]
        self.assertEqual(self.during(scope("/v1/completions", "POST"), body), [0, 1, 1, 1])
        self.assertEqual(self.during(scope("/llm/v1/chat/completions", "POST", root_path="/llm")), [1, 1, 1])
        self.assertEqual(self.during(scope("/score", "POST")), [1, 1, 1])

    def test_requests_that_the_ranks_do_not_answer_do_not_wait_for_them(self):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/load_lora_adapter"), ("POST", "/sleep")):
            self.assertEqual(self.during(scope(path, method)), [0, 0, 0], path)

    def test_a_request_of_a_client_that_reads_slowly_does_not_wait_for_the_engine(self):
        seen = []

        async def app(_scope, receive, send):
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def receive():
            return {"type": "http.request", "body": b""}

        async def slow(_message):
            seen.append(self.awaiting())

        asyncio.run(InFlightMiddleware(app, self.traffic)(scope("/v1/completions", "POST"), receive, slow))
        self.assertEqual(seen, [0, 0])

    def test_a_request_that_disconnects_or_fails_no_longer_waits(self):
        async def leaves(_scope, receive, _send):
            await receive()
            self.assertEqual(self.awaiting(), 1)
            await receive()
            self.assertEqual(self.awaiting(), 0)
            raise RuntimeError("boom")

        with self.assertRaises(RuntimeError):
            gone = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]
            self.exchange(scope("/v1/completions", "POST"), leaves, gone)
        self.assertEqual(self.awaiting(), 0)


class AccessLog(Case):
    def logged(self, path):
        logger = logging.getLogger("uvicorn.access")
        with self.assertLogs(logger, "INFO") as seen:
            logger.info('%s - "%s %s HTTP/%s" %d', "10.0.0.1:5", "GET", path, "1.1", 200)
            logger.info("the end")
        return len(seen.records) == 2

    def test_requests_of_probes_and_of_the_bridge_are_not_logged(self):
        InFlightMiddleware(self.app, self.traffic)
        InFlightMiddleware(self.app, self.traffic)
        self.assertEqual(logging.getLogger("uvicorn.access").filters.count(QUIET_PROBES), 1)
        for path in ("/health", "/metrics", "/rayfleet/v1/state", "/health?x=1"):
            self.assertFalse(self.logged(path), path)
        for path in ("/v1/completions", "/v1/models", "/healthy"):
            self.assertTrue(self.logged(path), path)


class Draining(Case):
    def drain(self, method="POST"):
        _, _, body = self.exchange(scope("/rayfleet/v1/drain", method))
        return json.loads(body)["draining"]

    def test_draining_can_be_set_twice_and_cleared(self):
        self.assertEqual([self.drain(), self.drain(), self.drain("DELETE"), self.drain("DELETE")], [True, True, False, False])

    def test_responses_close_the_connection_only_while_draining(self):
        _, headers, _ = self.exchange(scope("/v1/completions"))
        self.assertEqual(headers[b"connection"], b"keep-alive")
        self.drain()
        for path in ("/v1/completions", "/health", "/rayfleet/v1/state"):
            _, headers, _ = self.exchange(scope(path))
            self.assertEqual(headers[b"connection"], b"close", path)

    def test_http_2_responses_are_unchanged(self):
        self.drain()
        _, headers, _ = self.exchange(scope("/v1/completions", http_version="2"))
        self.assertEqual(headers[b"connection"], b"keep-alive")

    def test_wrong_paths_and_methods_are_reported(self):
        self.assertEqual(self.exchange(scope("/rayfleet/v1/drain"))[0], 405)
        self.assertEqual(self.exchange(scope("/rayfleet/v2/state"))[0], 404)


class Authorization(Case):
    def status(self, *headers):
        return self.exchange(scope("/rayfleet/v1/state", headers=headers))[0]

    def test_without_a_token_in_the_environment_none_is_required(self):
        self.assertEqual(self.status(), 200)

    def test_only_the_token_is_accepted(self):
        os.environ["RAY_AUTH_TOKEN"] = "t0ken"
        self.assertEqual(self.status((b"authorization", b"Bearer t0ken")), 200)
        self.assertEqual(self.status((b"authorization", b"bearer t0ken")), 200)
        for wrong in (b"Bearer t0kem", b"Bearer ", b"t0ken", b"Basic t0ken", b"Bearer t0ken2"):
            self.assertEqual(self.status((b"authorization", wrong)), 401, wrong)
        self.assertEqual(self.status(), 401)

    def test_draining_needs_the_token_too(self):
        os.environ["RAY_AUTH_TOKEN"] = "t0ken"
        self.assertEqual(self.exchange(scope("/rayfleet/v1/drain", "POST"))[0], 401)
        self.assertFalse(self.traffic.draining)

    def test_the_token_may_be_in_a_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("from-file\n")
            file.flush()
            os.environ["RAY_AUTH_TOKEN_PATH"] = file.name
            self.assertEqual(self.status((b"authorization", b"Bearer from-file")), 200)
            self.assertEqual(self.status(), 401)

    def test_with_an_unreadable_token_file_every_token_is_refused(self):
        os.environ["RAY_AUTH_TOKEN_PATH"] = "/nonexistent/token"
        self.assertEqual(self.status((b"authorization", b"Bearer ")), 401)

    def test_engine_requests_need_no_ray_token(self):
        os.environ["RAY_AUTH_TOKEN"] = "t0ken"
        self.assertEqual(self.exchange(scope("/v1/models"))[0], 200)


class Probing(Case):
    """The fixed request that is sent with the engine's own key."""

    BODIES = {"/v1/completions": {"model": "m", "prompt": "Hi"}, "/pooling": {"model": "m", "input": "Hi"}}

    def setUp(self):
        super().setUp()
        os.environ["RAYFLEET_PROBE"] = json.dumps(self.BODIES)

    async def vllm(self, scope_, receive, send):
        """Like vLLM: 401 for a wrong key, and only then 404 for an unknown path."""
        headers = dict(scope_["headers"])
        self.asked = (scope_["method"], scope_["path"], scope_["query_string"], headers)
        self.body = (await receive())["body"]
        self.counted = self.traffic.report()["awaiting"]
        status = 401 if headers.get(b"authorization") != b"Bearer key" else 200 if scope_["path"].endswith("/v1/completions") else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def probe(self, path="/v1/completions", method="POST", headers=(), **more):
        scope_ = scope(f"{more.get('root_path', '')}/rayfleet/v1/probe{path}", method, headers, query_string=b"a=b", **more)
        return self.exchange(scope_, self.vllm, [{"type": "http.request", "body": b"stolen", "more_body": False}])[0]

    def test_a_probe_is_sent_with_the_key_of_the_environment(self):
        self.assertEqual(self.probe(), 401)
        os.environ["VLLM_API_KEY"] = "key"
        self.assertEqual(self.probe(), 200)
        method, path, query, headers = self.asked
        self.assertEqual((method, path, query), ("POST", "/v1/completions", b""))
        self.assertEqual(headers[b"content-length"], str(len(self.body)).encode())
        self.assertEqual(self.probe("/pooling"), 404)

    def test_a_probe_sends_the_body_of_the_launch_and_nothing_of_the_caller(self):
        os.environ["VLLM_API_KEY"] = "key"
        self.probe(headers=[(b"x-secret", b"1"), (b"authorization", b"Bearer other")])
        self.assertEqual(json.loads(self.body), self.BODIES["/v1/completions"])
        self.assertNotIn(b"x-secret", self.asked[3])

    def test_other_paths_have_no_probe(self):
        os.environ["VLLM_API_KEY"] = "key"
        for path in ("/v1/chat/completions", "/v1/load_lora_adapter", "//v1/completions", "/v1/completions/../models", "/"):
            self.assertEqual(self.probe(path), 404, path)
        self.assertEqual(self.probe(method="GET"), 405)
        del os.environ["RAYFLEET_PROBE"]
        self.assertEqual(self.probe(), 404)

    def test_a_probe_needs_the_ray_token(self):
        os.environ.update(RAY_AUTH_TOKEN="t0ken", VLLM_API_KEY="key")
        self.assertEqual(self.probe(), 401)
        self.assertEqual(self.probe(headers=[(b"authorization", b"Bearer t0ken")]), 200)
        self.assertEqual(self.asked[3][b"authorization"], b"Bearer key", "the Ray token stays with the middleware")

    def test_a_probe_counts_as_a_request_that_waits_for_the_engine(self):
        os.environ["VLLM_API_KEY"] = "key"
        self.probe()
        self.assertEqual((self.counted, self.traffic.report()["served"], self.traffic.probes), (1, 1, 0))

    def test_a_root_path_is_kept(self):
        os.environ["VLLM_API_KEY"] = "key"
        self.assertEqual(self.probe(root_path="/llm"), 200)
        self.assertEqual(self.asked[1], "/llm/v1/completions")

    def test_concurrent_probes_are_limited(self):
        self.traffic.probes = 4
        self.assertEqual(self.probe(), 503)


if __name__ == "__main__":
    unittest.main()
