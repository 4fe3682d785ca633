"""Word lists, written as text."""


def words_of(text: str) -> list[str]:
    """The words of a text."""
    return text.split()
