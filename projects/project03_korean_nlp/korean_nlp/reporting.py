"""The report: one HTML file that loads nothing, made of what ``prepare`` wrote and ``evaluate`` measured."""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

from korean_nlp import charts, keywords, records, storage
from tf_study import cli, model_folder
from tf_study.errors import StudyError

TEMPLATE = Path(__file__).with_name("report.html")
KEYWORDS, EXAMPLES = 10, 3
OCCURRENCES = 2  # of a keyword in its topic at least: one may be chance
MONTHS = 3  # Trends of fewer months are no trends.
STRONG = 0.55  # From this share on, a cell's ground asks for the other colour of letters.
OTHER = "기타"


def run(options: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    path = options.output or options.model / "report.html"
    text = report(options.model, options.data, options.title)
    cli.write_text(path, text)
    print(f"보고서({len(text.encode()) / 1000:.0f} kB)를 {path}에 저장했습니다. 브라우저로 여세요.")


def report(model: Path, data: Path, title: str | None = None) -> str:
    """Return the report's HTML.

    Args:
        model: folder of a model that was evaluated.
        data: what ``prepare`` wrote; records without a topic get the model's best guess.
        title: the default names the data.

    Raises:
        StudyError: if a folder cannot be read or the model was not evaluated since its training.
    """
    card = storage.read_card(model)
    measured = read_evaluation(model)
    manifest = records.read_manifest(data)
    found = survey(records.read(data), _guesser(model, card) if "" in manifest["labels"] else None)
    sections = [
        _facts(manifest, found),
        _scores(measured),
        _confusion(measured),
        _keywords(found),
        _trend(found),
        _coverage(measured),
        _mistakes(measured),
        _examples(found),
    ]
    return page(title or f"{', '.join(manifest['sources'])}의 주제", filter(None, sections))


def page(title: str, sections: Iterable[str]) -> str:
    """Return the whole file."""
    return Template(TEMPLATE.read_text("utf-8")).substitute(title=escape(title), body="\n".join(sections))


def read_evaluation(model: Path) -> dict:
    """Return what ``evaluate`` measured of a folder's model.

    Raises:
        StudyError: if it did not, or measured another model, or its file is damaged.
    """
    path = model / storage.EVALUATION
    if not path.is_file():
        raise StudyError(f"{model}을(를) 잰 적이 없으니 evaluate를 먼저 실행하세요.")
    try:
        measured = json.loads(path.read_text("utf-8"))
        same = measured["card"] == model_folder.digest(model / model_folder.CARD)
    except (OSError, ValueError, KeyError, TypeError):
        raise StudyError(f"{path}의 내용이 깨졌으니 evaluate를 다시 실행하세요.") from None
    if not same:
        raise StudyError(f"{model}을(를) 잰 뒤에 다시 학습했으니 evaluate를 다시 실행하세요.")
    return measured


@dataclass
class Survey:
    """What one pass over the records found.

    ``words``: topic → counts of morphemes with a meaning. ``months``: "2016-06" → counts of topics. ``texts``: topic →
    its first texts. ``guessed``: records whose topic is the model's.
    """

    words: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    months: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter = field(default_factory=Counter)
    guessed: int = 0

    @property
    def topics(self) -> list[str]:
        """The topics, by name; what belongs to none is last."""
        return sorted(self.counts, key=lambda topic: (topic == OTHER, topic))


def survey(items: Iterable[dict], guess=None, block: int = 512) -> Survey:
    """Count what the report shows, in one pass and constant memory for the texts.

    Args:
        items: records.
        guess: function of records to their topics, for those without one.
        block: records guessed together.
    """
    found, waiting = Survey(), []

    def flush() -> None:
        for item, topic in zip(waiting, guess(waiting), strict=True):
            _count(found, item, topic)
        found.guessed += len(waiting)
        waiting.clear()

    for item in items:
        if item["label"]:
            _count(found, item, item["label"])
        else:
            waiting.append(item)
            if len(waiting) == block:
                flush()
    if waiting:
        flush()
    return found


def _count(found: Survey, item: dict, topic: str) -> None:
    found.counts[topic] += 1
    found.words[topic].update(filter(keywords.is_content, item["morphemes"]))
    if item["date"]:
        found.months[item["date"][:7]][topic] += 1
    if len(found.texts[topic]) < EXAMPLES:
        found.texts[topic].append(item["text"])


def _guesser(model: Path, card: dict):
    """Return a function of records to the best model's topics, those below its threshold :data:`OTHER`."""
    classifier = storage.load(model, card, card["best"])
    threshold = card["models"][card["best"]]["threshold"]

    def guess(items: Sequence[dict]) -> list[str]:
        rows = classifier.probabilities(*([item[name] for item in items] for name in ("text", "morphemes")))
        return [card["classes"][row.argmax()] if row.max() >= threshold else OTHER for row in rows]

    return guess


# The sections


def section(title: str, text: str, content: str) -> str:
    """Return a heading, a sentence or two that say how to read it, and what it shows."""
    return f'<section>\n<h2>{escape(title)}</h2>\n<p class="soft">{escape(text)}</p>\n{content}\n</section>'


def table(rows: Sequence[Sequence[str]], texts: Sequence[int] = ()) -> str:
    """Return an HTML table; the first row is the head, ``texts`` are the columns of running text."""

    def row(cells: Sequence[str], kind: str) -> str:
        marks = (' class="text"' if number in texts else "" for number in range(len(cells)))
        inside = "".join(
            f"<{kind}{mark}>{escape(cell)}</{kind}>" for mark, cell in zip(marks, cells, strict=True)
        )
        return f"<tr>{inside}</tr>"

    body = "".join(row(cells, "td") for cells in rows[1:])
    return _scrolled(f"<thead>{row(rows[0], 'th')}</thead><tbody>{body}</tbody>")


def _scrolled(rows: str) -> str:
    return f'<div class="scroll"><table>{rows}</table></div>'


def _facts(manifest: dict, found: Survey) -> str:
    dates = " ~ ".join(manifest["dates"]) or "날짜 없음"
    text = (
        f"글 {manifest['records']:,}건 ({dates}), 형태소 {manifest['morphemes']:,}개. 분석기는 "
        f"{manifest['tagger']['name']} {manifest['tagger']['version']}이고, 거의 같은 글 {manifest['duplicates']:,}건과 "
        f"읽을 수 없는 줄 {manifest['bad']:,}개는 뺐습니다."
    )
    if found.guessed:
        text += f" 주제가 적히지 않은 글 {found.guessed:,}건에는 모델이 답한 주제를 썼습니다."
    most = max(found.counts.values(), default=0)
    rows = [(topic, found.counts[topic], f"{found.counts[topic]:,}건") for topic in found.topics]
    return section("자료", text, charts.bars(rows, most))


def _scores(measured: dict) -> str:
    rows = [("모델", "macro-F1", "정확도", "TF-IDF와의 차이", "95% 구간", "McNemar p")]
    for kind, scores in measured["models"].items():
        row = [storage.KINDS[kind], f"{scores['macro_f1']:.3f}", f"{scores['accuracy']:.3f}"]
        if against := measured["comparisons"].get(kind):
            row += [f"{against['difference']:+.3f}", f"{against['low']:+.3f} ~ {against['high']:+.3f}"]
            row.append(f"{against['p']:.2g}")
        rows.append((*row, *[""] * (6 - len(row))))
    topics = [("주제", "글", "정밀도", "재현율", "F1")]
    for topic, values in measured["models"][measured["best"]]["topics"].items():
        numbers = (f"{values[name]:.3f}" for name in ("precision", "recall", "f1"))
        topics.append((topic, str(values["count"]), *numbers))
    text = (
        f"학습에 쓰지 않은 글 {measured['count']:,}건으로 쟀습니다. 구간이 0을 품으면 TF-IDF와 어느 쪽이 나은지 알 수 "
        f"없습니다. 아래 표와 그림은 검증 세트의 macro-F1이 가장 높은 {storage.KINDS[measured['best']]}의 것입니다."
    )
    return section("점수", text, table(rows) + table(topics))


def _confusion(measured: dict) -> str:
    topics, matrix = measured["classes"], measured["models"][measured["best"]]["confusion"]
    head = "".join(f"<th>{escape(topic)}</th>" for topic in topics)
    rows = []
    for topic, counts in zip(topics, matrix, strict=True):
        cells = "".join(_cell(count, sum(counts)) for count in counts)
        rows.append(f"<tr><th>{escape(topic)}</th>{cells}</tr>")
    head = f"<thead><tr><th>정답 \\ 답</th>{head}</tr></thead>"
    text = "행은 정답, 열은 모델의 답입니다. 짙은 칸일수록 그 주제의 글에서 차지하는 비율이 큽니다."
    return section("무엇을 무엇으로 잘못 읽나", text, _scrolled(f"{head}<tbody>{''.join(rows)}</tbody>"))


def _cell(count: int, total: int) -> str:
    share = count / total if total else 0.0
    mark = ' class="strong"' if share >= STRONG else ""
    return f'<td{mark} style="background:rgba(var(--heat),{share:.2f})">{count}</td>'


def _keywords(found: Survey) -> str:
    scores = keywords.log_odds({topic: found.words[topic] for topic in found.topics})
    parts = []
    for topic, words in scores.items():
        kept = [row for row in words if row[1] > 0 and row[2] >= OCCURRENCES][:KEYWORDS]
        if kept:
            rows = [
                (word.rpartition("/")[0], score, f"{score:.1f} ({count:,}번)") for word, score, count in kept
            ]
            parts.append(f"<div><h3>{escape(topic)}</h3>{charts.bars(rows, kept[0][1], 400)}</div>")
    if not parts:
        return ""
    text = (
        "다른 주제보다 그 주제에 유난히 많이 나오는 형태소입니다. 막대는 로그 오즈비의 z 점수이고, 괄호 안은 나온 "
        "횟수입니다. 드문 형태소가 우연히 앞서지 않게 모든 주제의 빈도를 사전 분포로 두고(Monroe 외, 2008), 그 주제에 "
        f"{OCCURRENCES}번 이상 나온 것만 보입니다."
    )
    return section("주제마다의 키워드", text, f'<div class="two">{"".join(parts)}</div>')


def _trend(found: Survey) -> str:
    if len(found.months) < MONTHS:
        return ""
    text = "그 달의 글 가운데 각 주제의 비율입니다. 글이 적은 달의 비율은 크게 흔들립니다."
    return section("시간별 추이", text, trend(found.months, found.topics))


def trend(months: Mapping[str, Mapping[str, int]], topics: Sequence[str]) -> str:
    """Return each topic's share of the texts of a month as lines.

    Args:
        months: "2016-06" → topic → texts, in any order.
    """
    names = sorted(months)
    first, last = _month_number(names[0]), _month_number(names[-1])
    series = {topic: [] for topic in topics}
    for name in names:
        total = sum(months[name].values())
        for topic in topics:
            series[topic].append((_month_number(name) - first, 100 * months[name].get(topic, 0) / total))
    most = max(value for points in series.values() for _, value in points)
    step = 5 if most <= 25 else 10 if most <= 50 else 20
    top = step * -int(-most // step)
    middle = [(last - first) // 2] if last - first > 3 else []
    xticks = [(number, _month_name(first + number)) for number in (0, *middle, last - first)]
    yticks = [(value, f"{value}%") for value in range(0, top + 1, step)]
    return charts.lines(series, "달", "글의 비율", xticks, yticks)


def _month_number(name: str) -> int:
    year, month = name.split("-")
    return 12 * int(year) + int(month) - 1


def _month_name(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _coverage(measured: dict) -> str:
    scores = measured["models"][measured["best"]]
    points = sorted((row["coverage"], row["accuracy"], row["outside"]) for row in scores["curve"])
    series = {
        "주제의 정확도": [(100 * share, 100 * accuracy) for share, accuracy, _ in points],
        "밖의 글에 답함": [(100 * share, 100 * outside) for share, _, outside in points],
    }
    at = scores["at_threshold"]
    text = (
        f"확률이 임곗값보다 낮은 글은 {OTHER}로 둡니다. 지금의 임곗값 {at['threshold']:.3f}에서는 주제가 있는 글의 "
        f"{100 * at['coverage']:.0f}%에 답하고, 주제 밖의 글({measured['outside']['name']} "
        f"{measured['outside']['count']:,}건) 가운데 {100 * at['outside']:.0f}%에 잘못 답합니다."
    )
    ticks = [(value, f"{value}%") for value in range(0, 101, 20)]
    content = charts.lines(series, "답한 글의 비율", "비율", ticks, ticks)
    return section("모르면 답하지 않기", text, content)


def _mistakes(measured: dict) -> str:
    rows = measured["models"][measured["best"]]["mistakes"]
    if not rows:
        return ""
    lines = [("글", "정답", "답", "확률")]
    lines += [(row["text"], row["label"], row["guess"], f"{row['probability']:.3f}") for row in rows]
    text = (
        "틀린 답 가운데 확률이 큰 것부터입니다. 정답이 둘인 글이나 잘못 적은 정답이 여기에 먼저 드러납니다."
    )
    return section("자신 있게 틀린 글", text, table(lines, texts=(0,)))


def _examples(found: Survey) -> str:
    parts = [
        f"<details><summary>{escape(topic)}</summary><ul>"
        + "".join(f"<li>{escape(text)}</li>" for text in found.texts[topic])
        + "</ul></details>"
        for topic in found.topics
    ]
    return section("글의 예", "주제마다 앞에서부터 몇 개입니다.", "".join(parts))
