"""Our own tables of phrases as they stand in ``spanish`` and ``everyday``."""


def read_phrases(table: str) -> dict[str, tuple[str, ...]]:
    """Read lines of ``name of the term = phrase; phrase``; a name may have several lines.

    Raises:
        ValueError: a line has no ``=``.
    """
    phrases: dict[str, tuple[str, ...]] = {}
    for line in table.strip().splitlines():
        name, own = line.split(" = ", 1)
        phrases[name] = (*phrases.get(name, ()), *(phrase.strip() for phrase in own.split(";")))
    return phrases
