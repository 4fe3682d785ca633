"""The tree of exceptions."""

import re

from atts_harness import errors


def test_an_unknown_name_is_answered_with_what_helps():
    few = ["boxed", "regex"]
    assert "there are: boxed, regex" in str(errors.UnknownSettingError("foo", few, "extractor"))
    assert "did you mean boxed?" in str(errors.UnknownSettingError("boxe", few, "extractor"))
    many = [f"setting_{n}" for n in range(40)]
    assert "`atts options` lists" in str(errors.UnknownSettingError("foo", many))
    assert "`atts plugins` lists" in str(errors.UnknownSettingError("foo", many, "strategy"))


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    above: dict[int, str] = {}
    told = {}
    for indent, name in re.findall(r"^( +)(\w+Error) ", errors.__doc__, re.MULTILINE):
        above[len(indent)] = name
        told[name] = above.get(len(indent) - 4, "Exception")
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert told == {c.__name__: c.__base__.__name__ for c in classes}
