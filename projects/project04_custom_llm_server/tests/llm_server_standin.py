"""Stands in for vLLM's Python: speaks what the engine uses of its server's API, and computes nothing.

``TF_STUDY_VLLM`` names a shell script that runs this file with vLLM's command line. The token after ``last`` at
``position`` is ``(7 * last + position) % VOCABULARY``. Words behind ``--model ...`` that vLLM does not know:

    --argv FILE     write the command line, the process's number and its variables there, as JSON
    --pace S        seconds between two tokens
    --fail          say something and end instead of starting
"""

import argparse
import json
import os
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VOCABULARY = 259


def following(last, position):
    return (7 * last + position) % VOCABULARY


def answer(prompt, count, stops=()):
    """What the engine should give: tokens and reason."""
    tokens, last = [], prompt[-1]
    for position in range(len(prompt), len(prompt) + count):
        last = following(last, position)
        if last in stops:
            return tokens, "stop"
        tokens.append(last)
    return tokens, "length"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, content):
        content = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())

    def known(self):
        return self.headers["Authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"

    def do_GET(self):
        if self.path == "/health":
            self.reply(200, "")
        elif self.path == "/metrics":
            self.reply(200, metrics())
        elif not self.known():
            self.reply(401, {"error": "Unauthorized"})
        else:
            model = {"id": options.served_model_name, "max_model_len": options.max_model_len}
            self.reply(200, {"data": [model]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.known() or asked["model"] != options.served_model_name:
            return self.reply(401, {"error": "Unauthorized"})
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        prompt, finish = asked["prompt"], "abort"
        with lock:
            counts["running"] += 1
            counts["prompt"] += len(prompt)
        try:
            last = prompt[-1]
            for position in range(len(prompt), len(prompt) + asked["max_tokens"]):
                time.sleep(options.pace)
                last = following(last, position)
                stop = last in asked.get("stop_token_ids", ())
                ended = stop or position == len(prompt) + asked["max_tokens"] - 1
                reason = ("stop" if stop else "length") if ended else None
                choice = {"index": 0, "text": "", "token_ids": [last], "finish_reason": reason}
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
                with lock:
                    counts["generated"] += 1
                if ended:
                    finish = reason
                    break
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # The client has gone.
            self.close_connection = True
        finally:
            with lock:
                counts["running"] -= 1
                finished[finish] += 1
        self.close_connection = True


def metrics():
    label = 'engine="0",model_name="m"'
    lines = [
        "# HELP vllm:num_requests_running Number of requests in model execution batches.",
        f"vllm:num_requests_running{{{label}}} {float(counts['running'])}",
        f"vllm:num_requests_waiting{{{label}}} 0.0",
        f"vllm:kv_cache_usage_perc{{{label}}} {min(1.0, counts['running'] / 100)}",
        f"vllm:prompt_tokens_total{{{label}}} {float(counts['prompt'])}",
        f"vllm:generation_tokens_total{{{label}}} {float(counts['generated'])}",
    ]
    lines += [
        f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {float(count)}'
        for reason, count in finished.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "-c" in sys.argv:
        print(json.dumps({"version": "vllm 0.32.0", "gpus": 0}))
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("-m")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-model-len", type=int, default=512)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--argv")
    options, _ = parser.parse_known_args()
    lock, counts, finished = threading.Lock(), Counter(), Counter()
    if options.argv:
        with open(options.argv + ".part", "w", encoding="utf-8") as file:
            json.dump({"argv": sys.argv[1:], "pid": os.getpid(), "env": dict(os.environ)}, file)
        os.replace(file.name, options.argv)
    if options.fail:
        print("Loading the model\n\x1b[31mERROR\x1b[0m 가중치가 없습니다", flush=True)
        sys.exit(1)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    except OSError as error:
        sys.exit(f"OSError: [Errno {error.errno}] address already in use")
    print("Application startup complete.", flush=True)
    server.serve_forever()
