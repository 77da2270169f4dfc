"""Readers: every line of a file becomes an item or a bad line with its reason."""

import json

import pytest

from korean_nlp import reading, sources
from korean_nlp.reading import Columns, Source
from tf_study.errors import StudyError


@pytest.fixture
def read(tmp_path):
    """A function that writes a file and reads it; returns the items and the bad lines."""

    def call(content, name="글.txt", columns=None, encoding=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = list(reading.read(Source(0, name, str(path), encoding), columns or Columns()))
        assert [item["order"] for item in found] == sorted(item["order"] for item in found)
        return [x for x in found if "text" in x], [x for x in found if "reason" in x]

    return call


def texts(found):
    return [item["text"] for item in found[0]]


def test_plain_text(read):
    items, bad = read('첫 줄\r\n\r\n셋째 줄, "쉼표"\n  끝\u2028같은 줄')
    assert [item["text"] for item in items] == ["첫 줄", '셋째 줄, "쉼표"', "  끝\u2028같은 줄"] and not bad
    assert [item["id"] for item in items] == ["글.txt:1", "글.txt:3", "글.txt:4"]
    assert items[0] == {
        "order": [0, 1],
        "id": "글.txt:1",
        "text": "첫 줄",
        "date": "",
        "label": "",
        "undated": False,
    }
    assert read("") == ([], [])


def test_csv_with_quotes(read):
    items, bad = read(
        'label,title,date\n경제,"물가가 ""또"" 올랐다,\n둘째 줄",2026-01-31\n사회,5" 화면,\n칸이,하나,더,있음\n세계,"",\n',
        "a.csv",
    )
    assert [(item["text"], item["label"], item["date"]) for item in items] == [
        ('물가가 "또" 올랐다,\n둘째 줄', "경제", "2026-01-31"),
        ('5" 화면', "사회", ""),
    ]
    assert [item["id"] for item in items] == ["a.csv:2", "a.csv:4"]
    assert [(item["id"], item["reason"]) for item in bad] == [
        ("a.csv:5", "칸이 3개가 아니라 4개입니다"),
        ("a.csv:6", "글이 비었습니다"),
    ]


def test_a_quotation_mark_left_open_costs_its_own_line(read):
    lines = [
        "text,label",
        '"열린 채,경제',
        "둘째,사회",
        '"여러\n줄",세계',
        '"틀린"따옴표,정치',
        "끝,사회",
        '"또 열림,경제',
    ]
    items, bad = read("\n".join(lines), "a.csv")
    assert [item["text"] for item in items] == ["둘째", "여러\n줄", "끝"]
    assert [(item["order"][1], item["reason"], item["line"]) for item in bad] == [
        (2, "따옴표가 닫히지 않았습니다", '"열린 채,경제'),
        (6, "CSV의 따옴표가 틀렸습니다", '"틀린"따옴표,정치'),
        (8, "따옴표가 닫히지 않았습니다", '"또 열림,경제'),
    ]


def test_a_tab_file_has_no_quotes(read):
    items, bad = read('id\tdocument\tlabel\n7\t"그는 말했다\t1\n8\t둘째\t0\n9\t\t1\n10\t모자람\n')
    assert [(item["id"], item["text"], item["label"]) for item in items] == [
        ("7", '"그는 말했다', "1"),
        ("8", "둘째", "0"),
    ]
    assert [item["reason"] for item in bad] == ["글이 비었습니다", "칸이 3개가 아니라 2개입니다"]


def test_json_lines(read):
    lines = [
        '{"text": "하나", "label": 3, "guid": "g1", "date": "2017.09.21. 오후 5:09"}', "{깨짐", "[1]", '{"label": "글 없음"}',
        '{"text": 7}', '{"text": "\\ud800 반쪽"}', '{"text": "둘", "date": "작년"}', "", "[" * 5000,
    ]  # fmt: skip
    items, bad = read("\n".join(lines), "a.jsonl")
    assert [(item["id"], item["text"], item["label"], item["date"], item["undated"]) for item in items] == [
        ("g1", "하나", "3", "2017-09-21", False),
        ("a.jsonl:7", "둘", "", "", True),
    ]
    assert [item["reason"] for item in bad] == [
        "JSON 객체가 아닙니다", "JSON 객체가 아닙니다", "글이 없습니다", "글이 없습니다", "글자가 깨졌습니다", "JSON 객체가 아닙니다",
    ]  # fmt: skip
    json.dumps(bad, ensure_ascii=False).encode()  # It can be written aside.


def test_a_json_array(read):
    rows = [{"title": "하나", "label": "경제"}, 7, {"title": "둘", "label": "사회"}]
    items, bad = read(json.dumps(rows, indent=1), "a.json")
    assert [(item["id"], item["text"]) for item in items] == [("a.json:1", "하나"), ("a.json:3", "둘")]
    assert len(bad) == 1 and texts(read('{"text": "줄"}\n{"text": "줄 둘"}', "b.json")) == ["줄", "줄 둘"]


def test_the_first_line_tells_the_format(read):
    assert texts(read('{"text": "가"}\n', "-")) == ["가"]
    assert texts(read("번호,제목\n1,가\n", "-")) == ["가"]
    assert texts(read("가, 나\n다", "-")) == ["가, 나", "다"]
    assert texts(read("Q,A,label\n안녕,네,0\n", "-", Columns(text="A"))) == ["네"]


def test_columns(read):
    content = "Q,A,label\n안녕,네,0\n"
    items, _ = read(content, "a.csv", Columns(text="Q", label="A", id="label"))
    assert (items[0]["text"], items[0]["label"], items[0]["id"]) == ("안녕", "네", "0")
    with pytest.raises(StudyError, match=r"글이 든 열을 찾지 못했으니 --text-column.*있는 열: Q, A, label"):
        read(content, "a.csv")
    with pytest.raises(StudyError, match=r"'주제' 열이 없으니 --label-column을 고치세요"):
        read(content, "a.csv", Columns(text="Q", label="주제"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_told(read, encoding, capsys):
    items, bad = read("제목,주제\n물가가 올랐다,경제\n".encode(encoding), "a.csv")
    assert (items[0]["text"], items[0]["label"], bad) == ("물가가 올랐다", "경제", [])
    told = capsys.readouterr().err
    assert ("로 읽습니다" in told) == (not encoding.startswith("utf-8"))


def test_broken_letters_cost_their_line(read):
    whole = "하나\n둘\n셋\n"
    items, bad = read(whole.encode() + "넷".encode()[:2] + b"\n" + "다섯".encode())
    assert [item["text"] for item in items] == ["하나", "둘", "셋", "다섯"]
    assert [(item["order"][1], item["reason"]) for item in bad] == [
        (4, "글자가 깨졌습니다")
    ] and "\\xeb" in bad[0]["line"]
    assert texts(read(whole.encode("cp949"), encoding="cp949")) == ["하나", "둘", "셋"]
    assert len(read(whole.encode("cp949"), encoding="utf-8")[1]) == 3
    with pytest.raises(StudyError, match="'한글'라는 인코딩은 없으니"):
        read(whole, encoding="한글")


def test_a_line_without_an_end(read, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 64)
    for content in (b"a" * 1000, b"a" * 63 + b"\n", b"a" * 64 + b"\n", b"a" * 128 + b"\n"):
        items, bad = read("앞\n".encode() + content + "\n뒤\n".encode())
        assert [item["text"] for item in items if item["text"] != "a" * 63] == ["앞", "뒤"]
        assert len(bad) == (len(content) > 64) and (not bad or bad[0]["reason"] == "줄이 너무 깁니다")


def test_the_sample_may_end_within_a_letter(read, monkeypatch):
    for size in range(8, 14):
        monkeypatch.setattr(reading, "_SAMPLE", size)
        assert texts(read("가나다라\n마바사\n")) == ["가나다라", "마바사"]
        assert texts(read("가나다라\n마바사\n".encode("utf-16"))) == ["가나다라", "마바사"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-06-30", "2016-06-30T00:00:00"),
        ("20160630", "2016-06-30T00:00:00"),
        ("2016. 6. 30.", "2016-06-30T00:00:00"),
        ("2016.06.30. 오전 10:36", "2016-06-30T10:36:00"),
        ("2016.06.30. 오전 12:36", "2016-06-30T00:36:00"),
        ("2016.06.30. 오후 12:36", "2016-06-30T12:36:00"),
        ("2016.06.30. 오후 1:06", "2016-06-30T13:06:00"),
        ("2016년 6월 30일 오후 3시 5분", "2016-06-30T15:05:00"),
        ("2016/06/30 23:59:59", "2016-06-30T23:59:59"),
        ("2016-06-30T10:36:00.123", "2016-06-30T10:36:00"),
        ("2016-06-30T18:00:00Z", "2016-07-01T03:00:00"),
        ("2016-06-30 01:00:00+09:00", "2016-06-30T01:00:00"),
    ],
)
def test_dates(text, moment):
    assert reading.moment(text).isoformat() == moment


@pytest.mark.parametrize(
    "text",
    ["작년", "2016-13-01", "2016-02-30", "2016.06.30. 오후 13:00", "2016.06.30. 오전 0:10", "06-30", "1"],
)
def test_what_is_no_date(text):
    with pytest.raises(ValueError):
        reading.moment(text)


# What prepare is told to read


def gathered(given, folder, part="train"):
    folder.mkdir(exist_ok=True)
    found = sources.gather([str(name) for name in given], part, None, folder)
    return [item for source in found for item in reading.read(source)]


def test_folders(tmp_path, capsys):
    root = tmp_path / "자료"
    (root / "하위").mkdir(parents=True)
    (root / "b.txt").write_text("둘", encoding="utf-8")
    (root / "하위" / "a.csv").write_text("text\n하나\n", encoding="utf-8")
    (root / ".숨김.txt").write_text("숨김", encoding="utf-8")
    (root / "그림.png").write_bytes(b"\x89PNG")
    items = gathered([root], tmp_path / "work")
    assert [(item["text"], item["order"]) for item in items] == [("둘", [0, 1]), ("하나", [1, 2])]
    assert "건너뛴 것: 1개" in capsys.readouterr().err
    with pytest.raises(StudyError, match="같은 파일을 두 번"):
        gathered([root, root / "b.txt"], tmp_path / "work")
    (tmp_path / "빈").mkdir()
    for name, sentence in (
        (tmp_path / "빈", "읽을 파일이 없으니"),
        (tmp_path / "없음", "없음이.* 없으니 경로를"),
    ):
        with pytest.raises(StudyError, match=sentence):
            gathered([name], tmp_path / "work")


def test_embedded(tmp_path):
    train, test = (gathered(["embedded"], tmp_path / part, part) for part in ("train", "test"))
    assert (len(train), len(test)) == (588, 147) and {item["label"] for item in test} >= {"IT과학", "정치"}
    assert not {item["text"] for item in train} & {item["text"] for item in test}


def test_ynat_from_a_local_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_STUDY_DATA", str(tmp_path))
    (tmp_path / "ynat").mkdir()
    path = tmp_path / "ynat" / "ynat-v1.1_dev.json"
    row = {"guid": "ynat-v1_dev_00000", "title": "제목", "predefined_news_category": "경제", "label": "사회"}
    path.write_text(json.dumps([row | {"date": "2017.09.21. 오후 5:09"}]), encoding="utf-8")
    (item,) = gathered(["ynat"], tmp_path / "work", "test")
    assert (item["id"], item["label"], item["date"]) == ("ynat-v1_dev_00000", "사회", "2017-09-21")
    path.write_text("[{}]")
    with pytest.raises(StudyError, match="깨졌거나 형식이 다르니"):
        gathered(["ynat"], tmp_path / "work", "test")


def test_ynat_from_the_hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets는 make advanced가 설치합니다.")
    row = {"guid": "g", "title": "제목", "label": 6, "date": "2016.06.30. 오전 12:36"}

    def load(name, config, split):
        assert (name, config, split) == ("klue", "ynat", "train")
        return [row]

    monkeypatch.delenv("TF_STUDY_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *names, **more: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    (item,) = gathered(["ynat"], tmp_path / "work")
    assert (item["text"], item["label"], item["date"]) == ("제목", "정치", "2016-06-30")

    def fail(*names, **more):
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(StudyError, match="허브에서 받지 못했으니.ConnectionError"):
        gathered(["ynat"], tmp_path / "work")


def test_a_hub_that_is_not_there_is_asked_once(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets는 make advanced가 설치합니다.")
    asked = []

    def away(*names, **more):
        asked.append(more["timeout"])
        raise ConnectionError

    monkeypatch.delenv("TF_STUDY_DATA", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", away)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.hf_hub_download", lambda *names, **more: pytest.fail("asked again")
    )
    with pytest.raises(StudyError, match="허브에서 받지 못했으니.ConnectionError"):
        gathered(["ynat"], tmp_path / "work")
    assert asked == [sources.HUB_TIMEOUT] and datasets.config.HF_HUB_OFFLINE is False
