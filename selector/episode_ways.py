"""Where actions lead: the places and names of an episode, linked by ways that were gone, described or read about."""

from collections.abc import Mapping

from selector.episode_map import EpisodeMap
from selector.phrases import Words, arguments_of, content_words
from selector.read_map import linked_names

Names = Mapping[str, Words]


def names_of(known: EpisodeMap) -> dict[str, Words]:
    """What each visited place and each name that was read is called: the words that not all visited places share."""
    words = {place: content_words(place) for place in known.visits}
    shared = frozenset.intersection(*words.values()) if len(words) > 1 else frozenset()
    visited = {place: own - shared or own for place, own in words.items()}
    read = {name: frozenset(name.split()) for text in known.texts for name in linked_names(text)}
    called = set(visited.values())
    return visited | {name: own for name, own in read.items() if own not in called}


def links_of(known: EpisodeMap, names: Names) -> dict[str, set[str]]:
    """Ways between places and names: tried, described where an exit was offered, or read."""
    links = _read_links(known, names)
    moving = known.moving
    for place, sight in known.sights.items():
        exits = (action for verb in moving for action in sight.offered.get(verb, ()))
        for goal in {leads_to(known, names, place, action) for action in exits} - {""}:
            links.setdefault(place, set()).add(goal)
            links.setdefault(goal, set()).add(place)
    return links


def leads_to(known: EpisodeMap, names: Names, place: str, action: str) -> str:
    """Where an action leads from a place: to where it led, to the place that its description names, or somewhere new.

    "" where it is known to lead nowhere; somewhere new has a name of its own for each place and action.
    """
    arguments = arguments_of(action)
    description = known.sights[place].text.description(arguments)
    way = known.ways.get((place, action), place)
    if way != place:
        return way
    if (place, action, description) in known.tries:
        return ""
    words = description | arguments
    called = [other for other, own in names.items() if other != place and own <= words]
    return max(called, key=lambda other: len(names[other]), default=f"{place}\0{action}")


def _read_links(known: EpisodeMap, names: Names) -> dict[str, set[str]]:
    by_words = {own: place for place, own in names.items()}
    links: dict[str, set[str]] = {}
    for text in known.texts:
        for name, others in linked_names(text).items():
            place = by_words[frozenset(name.split())]
            links.setdefault(place, set()).update(by_words[frozenset(other.split())] for other in others)
    return links
