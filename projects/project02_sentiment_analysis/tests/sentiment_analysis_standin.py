"""Stands in for models, without TensorFlow: what worker processes and a server compute in tests.

As a program it is the server with stand-ins: ``python sentiment_analysis_standin.py DELAY [options of serve]``.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from sentiment_analysis import explanation
from tf_study.errors import StudyError

WEIGHTS = {"좋": 1.0, "재": 0.5, "나": -0.7, "쁘": -0.6}


class Standin:
    """Reads a syllable as a token; its margin is ``steepness``-fold bent: ``tanh(steepness * sum of weights)``."""

    limit, temperature = 12, 2.0

    def __init__(self, steepness=1.0):
        self.steepness, self.asked = steepness, []

    def pieces(self, text):
        spans = [(place, place + 1) for place, character in enumerate(text) if not character.isspace()]
        return [(0, 0), *spans[: self.limit - 2], (0, 0)]

    def slopes(self, text, points):
        self.asked.append(len(points))
        weights = np.array([WEIGHTS.get(text[start:end], 0.0) for start, end in self.pieces(text)])
        margins = np.tanh(self.steepness * weights.sum() * points)
        return margins, self.steepness * (1 - margins**2)[:, None] * weights

    def probabilities(self, texts):
        margins = np.array([self.slopes(text, np.ones(1))[0][0] for text in texts])
        positive = 1 / (1 + np.exp(-margins / self.temperature))
        return np.stack([1 - positive, positive], -1)


def classifier(delay=0.0):
    """Takes ``delay`` seconds for a batch with 느린 in it. Of a text with 죽어 it dies, once if the file it names is not there yet."""
    model = Standin()

    def answer(texts):
        for text in texts:
            if text.startswith("죽어"):
                mark = text.removeprefix("죽어").strip()
                if not (mark and os.path.exists(mark)):
                    if mark:
                        Path(mark).touch()
                    os.kill(os.getpid(), 9)
            if text == "틀려":
                raise ValueError("비밀 글")
        time.sleep(delay if "느린" in " ".join(texts) else 0)
        return model.probabilities(texts)

    return answer


def explainer():
    model = Standin()
    return lambda texts: [explanation.explain(model, text).as_json() for text in texts]


def number(delay=0.0):
    """Answers with the number of its process."""

    def answer(question):
        time.sleep(delay)
        return os.getpid()

    return answer


def broken(sentence):
    raise StudyError(sentence)


def dead():
    os._exit(3)


def main():
    from sentiment_analysis import serving
    from sentiment_analysis.commands import build_parser
    from sentiment_analysis.workers import Worker

    delay, *arguments = sys.argv[1:]

    def build(kind, arguments, warm, tell):
        if kind is serving.classifier:
            return Worker(classifier, (float(delay),), warm, tell)
        return Worker(explainer, tell=tell)  # Kiwi takes seconds to start: at the first explanation.

    serving.Worker, serving.prepare = build, lambda arguments: None
    serving.run(build_parser().parse_args(["serve", "standin", *arguments]))


if __name__ == "__main__":
    from sentiment_analysis_standin import main  # Worker processes find its functions under this name.

    main()
