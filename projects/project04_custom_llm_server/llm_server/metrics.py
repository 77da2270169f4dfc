"""Prometheus' text format, and what the gateway counts, under the names that vLLM gives it."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from llm_server.engine.base import Stats

TTFT = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
TPOT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20)
WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480)
TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Of an engine's state: name, kind, what it says, and how it is read from Stats.
ENGINE = (
    ("vllm:num_requests_running", "gauge", "Requests that are computed.", "running"),
    ("vllm:num_requests_waiting", "gauge", "Requests that wait for a slot or for blocks.", "waiting"),
    ("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache's blocks in use, 0 to 1.", "kv_cache_usage"),
    ("vllm:prompt_tokens_total", "counter", "Tokens of prompts.", "prompt_tokens"),
    ("vllm:generation_tokens_total", "counter", "Tokens generated.", "generated_tokens"),
    ("vllm:prefix_cache_queries_total", "counter", "Tokens looked up in the prefix cache.", "prefix_queries"),
    ("vllm:prefix_cache_hits_total", "counter", "Tokens found in the prefix cache.", "prefix_hits"),
    ("vllm:num_preemptions_total", "counter", "Times a sequence made room for others.", "preemptions"),
)
FINISHED = "vllm:request_success_total"


class Histogram:
    """Counts of values up to each of the edges."""

    def __init__(self, name: str, says: str, edges: Sequence[float]):
        self.name, self.says, self.edges = name, says, edges
        self.counts, self.sum = [0] * (len(edges) + 1), 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.edges, value)] += times
        self.sum += value * times

    def lines(self, labels: str) -> Iterable[str]:
        yield from _head(self.name, "histogram", self.says)
        total = 0
        for edge, count in zip((*self.edges, "+Inf"), self.counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{{labels},le="{edge}"}} {total}'
        yield f"{self.name}_sum{{{labels}}} {self.sum}"
        yield f"{self.name}_count{{{labels}}} {total}"


class Metrics:
    """What the gateway measures at its own door: times as a client sees them, and refusals."""

    def __init__(self, model: str):
        self.model = model
        self.ttft = Histogram("vllm:time_to_first_token_seconds", "From request to first token.", TTFT)
        self.between = Histogram("vllm:inter_token_latency_seconds", "Between two tokens.", TPOT)
        self.tpot = Histogram(
            "vllm:request_time_per_output_token_seconds", "Mean of a request's, without the first.", TPOT
        )
        self.whole = Histogram("vllm:e2e_request_latency_seconds", "From request to last token.", WHOLE)
        self.answers: dict[str, int] = {}  # by how they ended
        self.refusals: dict[str, int] = {}  # by reason

    def count(self, counts: dict[str, int], name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    def text(self, engines: Sequence[tuple[bool, Stats]]) -> str:
        """Return everything, with the engines' states: whether each is alive, and its stats."""
        model = f'model_name="{_escape(self.model)}"'
        lines = []
        for name, kind, says, field in ENGINE:
            lines += _head(name, kind, says)
            lines += [
                f'{name}{{{model},engine="{number}"}} {getattr(stats, field)}'
                for number, (_, stats) in enumerate(engines)
            ]
        lines += _head(FINISHED, "counter", "Requests that ended in an engine, by reason.")
        lines += [
            f'{FINISHED}{{{model},engine="{number}",finished_reason="{reason}"}} {count}'
            for number, (_, stats) in enumerate(engines)
            for reason, count in sorted(stats.finished.items())
        ]
        lines += _head("llm_server:engine_up", "gauge", "1 if the engine can answer.")
        lines += [
            f'llm_server:engine_up{{{model},engine="{number}"}} {int(alive)}'
            for number, (alive, _) in enumerate(engines)
        ]
        for name, label, says, counts in (
            (
                "llm_server:answers_total",
                "reason",
                "Answers of the gateway, by how they ended.",
                self.answers,
            ),
            ("vllm:admission_rejections_total", "reason", "Requests refused, by reason.", self.refusals),
        ):
            lines += _head(name, "counter", says)
            lines += [f'{name}{{{model},{label}="{key}"}} {count}' for key, count in sorted(counts.items())]
        for histogram in (self.ttft, self.between, self.tpot, self.whole):
            lines += histogram.lines(model)
        return "\n".join(lines) + "\n"


def parse(text: str) -> dict[str, float]:
    """Return the sum over labels of every sample of a text by name; of finished requests also by reason."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        head, _, value = line.rpartition(" ")
        name, _, labels = head.partition("{")
        if name == FINISHED:
            name = f"{name} {labels.partition('finished_reason=')[2].split(chr(34))[1]}"
        found[name] = found.get(name, 0.0) + float(value)
    return found


def stats(text: str) -> Stats:
    """Return the state of an engine from the metrics that vLLM, or this gateway before one engine, gives out."""
    found = parse(text)
    values = {field: found.get(name, 0.0) for name, _, _, field in ENGINE}
    numbers = {field: value if field == "kv_cache_usage" else int(value) for field, value in values.items()}
    finished = {
        name.partition(" ")[2]: int(value) for name, value in found.items() if name.startswith(f"{FINISHED} ")
    }
    return Stats(**numbers, finished=finished)


def _head(name: str, kind: str, says: str) -> list[str]:
    return [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
