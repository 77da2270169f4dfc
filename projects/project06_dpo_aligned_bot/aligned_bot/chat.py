"""Talking to the bot in a terminal."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from functools import partial

from aligned_bot.bot import Bot
from aligned_bot.filters import Filters
from tf_study.errors import StudyError

MARKS = {"done": "", "input": "  [질문 필터]", "output": "  [답 필터]"}


def run(arguments: Namespace) -> None:
    """Talk as the command line says, until an empty line or the end of the input."""
    from aligned_bot import bot

    filters, found = Filters.of(arguments.filter, arguments.block), bot.load(arguments.model)
    print("질문을 적고 Enter를 누르세요. 빈 줄을 넣으면 끝납니다.")
    options = {"temperature": arguments.temperature, "limit": arguments.limit, "system": arguments.system}
    talk(found, filters, _lines(), **options)


def talk(
    bot: Bot,
    filters: Filters,
    questions: Iterable[str],
    tell: Callable[[str], None] = lambda text: print(text, end="", flush=True),
    **options,
) -> None:
    """Answer questions one after the other, each by itself; a question that is too long gets a sentence.

    Args:
        bot: answers.
        filters: before and behind it.
        questions: texts.
        tell: shows a bit of text.
        options: of :meth:`Bot.stream`, besides the seed, which is the question's number.
    """
    for number, question in enumerate(questions):
        try:
            bot.prompt(question, system=options.get("system"))
        except StudyError as error:
            tell(f"{error}\n")
            continue
        tell("봇: ")
        for piece in filters.reply(question, partial(bot.stream, question, seed=number, **options)):
            tell(piece.text + (MARKS[piece.end] + "\n" if piece.end else ""))


def _lines() -> Iterable[str]:
    while True:
        try:
            line = input("나: ").strip()
        except EOFError:
            print()
            return
        if not line:
            return
        yield line
