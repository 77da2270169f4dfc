"""A bot whose answers are a function, for tests of what measures bots."""

import numpy as np


class Scripted:
    """Answers ``say(question, given, seed)``; log p of an answer is ``score(question, answer)``."""

    def __init__(self, say=None, score=None, name="대본"):
        self.say, self.score, self.name = say, score, name

    def answer(self, questions, *, temperature=0.0, seed=0, limit=64, given=""):
        assert limit > 0 and temperature in (0.0, 1.0)
        return [self.say(question, given, seed if temperature else None) for question in questions]

    def log_probabilities(self, rows):
        return np.array([self.score(*row) for row in rows])

    def token_counts(self, rows):
        return np.array([len(answer) for _, answer in rows])
