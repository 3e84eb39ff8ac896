#!/usr/bin/env python3
"""A mock Messages API, so that the real Claude Code makes scripted tool calls offline.

    mock_messages_api.py PLAN

PLAN is a JSON list of {"name": .., "input": ..}. The n-th turn asks for the n-th call; after the
last one the answer is the text DONE. An argument "$REQUEST" stands for the last request id in what
the tools have answered. Prints its port, then serves until it is killed.
"""
import http.server
import json
import re
import sys

plan = json.loads(sys.argv[1])


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer({})

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self.path.split("?")[0].endswith("/messages"):
            self.answer({"input_tokens": max(1, len(body) // 4)})
            return
        request = json.loads(body)
        call = next_call(request)
        if request.get("stream"):
            self.stream(message(request), call)
        else:
            whole = message(request)
            whole["content"] = [content(call, call and call["input"], "DONE")]
            whole["stop_reason"] = stop_reason(call)
            self.answer(whole)

    def answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def stream(self, start, call):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        if call:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call["input"])}
        else:
            delta = {"type": "text_delta", "text": "DONE"}
        stop = {"stop_reason": stop_reason(call), "stop_sequence": None}
        for event in (
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": content(call, {}, "")},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()
        self.close_connection = True


def next_call(request):
    """The call that this conversation has come to; None for one without tools, or at the end."""
    blocks = [
        block
        for turn in request["messages"]
        if turn["role"] == "user" and isinstance(turn["content"], list)
        for block in turn["content"]
    ]
    results = [block for block in blocks if block.get("type") == "tool_result"]
    done = len(results)
    if not request.get("tools") or done >= len(plan):
        return None
    ids = re.findall(r"req_[0-9a-f]{32}", json.dumps(results))
    said = lambda value: ids[-1] if value == "$REQUEST" and ids else value
    arguments = {name: said(value) for name, value in plan[done]["input"].items()}
    return {**plan[done], "input": arguments, "id": f"toolu_{done}"}


def message(request):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }


def content(call, arguments, text):
    if call is None:
        return {"type": "text", "text": text}
    return {"type": "tool_use", "id": call["id"], "name": call["name"], "input": arguments}


def stop_reason(call):
    return "tool_use" if call else "end_turn"


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
print(server.server_port, flush=True)
server.serve_forever()
