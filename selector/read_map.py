"""Names that the texts of an episode link: a graph of phrases that stand in one sentence, and distances in it."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from functools import lru_cache

from selector.phrases import SENTENCE, TOKEN, runs

Links = Mapping[str, frozenset[str]]

_GLUE_SHARE = 0.8
_LEAST_SENTENCES = 3


@lru_cache(maxsize=1 << 10)
def linked_names(text: str) -> Links:
    """Phrases that occur in two sentences or more, each linked with the first of every sentence where both stand.

    >>> links = linked_names("The hall connects to the den. The attic connects to the hall. The den connects to us.")
    >>> sorted(links["hall"])
    ['den']
    """
    sentences = [TOKEN.findall(sentence) for sentence in SENTENCE.split(text.lower()) if sentence]
    glue = _glue(sentences)
    named = [runs(sentence, glue) for sentence in sentences]
    often = Counter(name for names in named for name in set(names))
    return joined((names[0], other) for names in named for other in names[1:] if min(often[names[0]], often[other]) > 1)


def _glue(sentences: list[list[str]]) -> frozenset[str]:
    """Words that nearly every sentence has and none begins with ("connects"): they part names as function words do."""
    if len(sentences) < _LEAST_SENTENCES:
        return frozenset()
    counts = Counter(word for sentence in sentences for word in set(sentence))
    opening = {name.split()[0] for sentence in sentences for name in runs(sentence, frozenset())[:1]}
    return frozenset(word for word, count in counts.items() if count > _GLUE_SHARE * len(sentences)) - opening


def joined(pairs: Iterable[tuple[str, str]]) -> Links:
    """The graph of undirected links."""
    links: dict[str, set[str]] = {}
    for one, other in pairs:
        if one != other:
            links.setdefault(one, set()).add(other)
            links.setdefault(other, set()).add(one)
    return {name: frozenset(others) for name, others in links.items()}


def distances(links: Mapping[str, Iterable[str]], starts: Mapping[str, int]) -> dict[str, int]:
    """Least number of links from the nearest start, counted from the start's own number; unreached names are absent.

    >>> distances({"a": ["b"], "b": ["c"]}, {"a": 0})
    {'a': 0, 'b': 1, 'c': 2}
    """
    found = dict(sorted(starts.items(), key=lambda item: item[1]))
    ahead = deque(found)
    while ahead:
        name = ahead.popleft()
        for other in links.get(name, ()):
            if found.get(other, len(found) + 1_000_000) > found[name] + 1:
                found[other] = found[name] + 1
                ahead.append(other)
    return found
