"""``docs/states.md`` says what the state machine does."""

from __future__ import annotations

import re

from support.states_page import BEGIN, COMMAND, END, PAGE, page
from xqueue_core.task import State


def test_the_table_on_the_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text == page(text), f"refresh it with: {COMMAND}"


def test_the_drawing_names_every_state() -> None:
    text = PAGE.read_text(encoding="utf-8")
    [drawing] = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    drawn = set(re.findall(r"[a-z]+(?= -->)|(?<=--> )[a-z]+", drawing))
    assert drawn == {state.value for state in State} - {"moving", "moved"}
