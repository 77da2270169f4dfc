"""The one exception class shown to learners."""


class StudyError(Exception):
    """A problem that the learner can solve; its text is one Korean sentence with the remedy.

    In a notebook only that sentence is shown, without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]
