"""Keys and what they may use; metrics in the format that Prometheus reads."""

import tf_study  # noqa: F401  isort: skip

import pytest

from llm_server import limits, metrics
from llm_server.engine.base import Stats
from tf_study.errors import StudyError

FILE = """
["가영"]
key = "sk-0123456789abcdef"
requests = 2
tokens = 600

["나영"]
key = "sk-fedcba9876543210"
"""


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_bucket_fills_evenly():
    clock = Clock()
    bucket = limits.Bucket(60, clock)
    assert bucket.take(60) == 0 and bucket.take(1) == 1 and bucket.take(30) == 30
    clock.now += 30
    assert bucket.take(31) == pytest.approx(1) and bucket.take(30) == 0
    clock.now += 1e6
    assert bucket.take(1000) == 0  # never more than a full bucket
    assert bucket.take(60) == 60
    bucket.give_back(1000)
    assert bucket.level == 60


def test_keys_of_a_file(tmp_path):
    path = tmp_path / "키.toml"
    path.write_text(FILE, encoding="utf-8")
    keys = limits.read(path)
    first, second = keys.client("Bearer sk-0123456789abcdef"), keys.client("bearer  sk-fedcba9876543210")
    assert (first.name, first.requests.most, first.tokens.most) == ("가영", 2, 600)
    assert (second.name, second.requests.most, second.tokens.most) == ("나영", limits.REQUESTS, limits.TOKENS)
    for wrong in (
        "",
        "Bearer",
        "Bearer ",
        "sk-0123456789abcdef",
        "Basic sk-0123456789abcdef",
        "Bearer sk-0",
        "Bearer 가",
    ):
        assert keys.client(wrong) is None
    assert "sk-" not in repr(vars(keys))  # The keys themselves are not kept.


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "키가 없으니"),
        ("[a", "TOML"),
        ("\xff", "TOML"),
        ("a = 1", "16자 이상의 key"),
        ('[a]\nkey = "short"', "16자 이상의 key"),
        ('[a]\nkey = "sk-가가가가가가가가가가가가가가가가"', "16자 이상의 key"),
        ('[a]\nkey = "sk-0123456789abcdef"\n[b]\nkey = "sk-0123456789abcdef"', "key를 하나"),
        ('[a]\nkey = "sk-0123456789abcdef"\nrequest = 3', "requests와 tokens만"),
        ('[a]\nkey = "sk-0123456789abcdef"\nrequests = 0', "1 이상의 정수"),
        ('[a]\nkey = "sk-0123456789abcdef"\ntokens = true', "1 이상의 정수"),
        (None, "읽을 수 없으니"),
    ],
)
def test_wrong_files(tmp_path, content, part):
    path = tmp_path / "키.toml"
    if content is not None:
        path.write_bytes(content.encode("latin-1") if content == "\xff" else content.encode())
    with pytest.raises(StudyError, match=part) as caught:
        limits.read(path)
    assert "\n" not in str(caught.value)[:80] and "sk-" not in str(caught.value)


def test_metrics_are_prometheus_text():
    """Read by Prometheus' own parser: names, labels, and histograms whose counts only grow."""
    parser = pytest.importorskip("prometheus_client.parser")
    made = metrics.Metrics('모델 "a"\\')
    for value in (0.005, 0.05, 3, 1000):
        made.ttft.observe(value)
    made.between.observe(0.1, 7)
    made.count(made.refusals, "queue_full")
    state = Stats(2, 1, 0.25, 10, 20, 30, 16, 4, {"stop": 3, "length": 5})
    text = made.text([(True, state), (False, state)])
    found = {
        (sample.name, sample.labels.get("engine"), sample.labels.get("finished_reason"), sample.labels.get("le")): sample
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip
    assert {sample.labels["model_name"] for sample in found.values()} == {'모델 "a"\\'}
    assert found["vllm:kv_cache_usage_perc", "1", None, None].value == 0.25
    assert found["vllm:request_success_total", "0", "stop", None].value == 3
    assert [found["llm_server:engine_up", str(n), None, None].value for n in (0, 1)] == [1, 0]
    buckets = [
        (key[3], sample.value)
        for key, sample in found.items()
        if key[0] == "vllm:time_to_first_token_seconds_bucket"
    ]
    assert buckets[0] == ("0.01", 1) and buckets[-1] == ("+Inf", 4)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert found["vllm:time_to_first_token_seconds_sum", None, None, None].value == pytest.approx(1003.055)
    assert found["vllm:inter_token_latency_seconds_count", None, None, None].value == 7


def test_an_engines_state_can_be_read_back():
    state = Stats(2, 1, 0.25, 10, 20, 30, 16, 4, {"stop": 3, "length": 5})
    assert metrics.stats(metrics.Metrics("a").text([(True, state)])) == state
