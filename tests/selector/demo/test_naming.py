"""Objects are offered by the names under which they are seen."""

from selector.demo.naming import seen_names


def test_an_object_is_called_what_is_seen_of_it():
    others = {"1": ("sittable", "cloth sittable", "couch"), "2": ("object", "pillow")}
    seen = "a couch. On the couch is: a white pillow."
    assert seen_names({"1": "cloth sittable", "2": "object"}, others, seen) == {"1": "couch", "2": "pillow"}


def test_of_several_names_that_are_seen_the_rarest_is_taken_and_then_the_longest():
    others = {"1": ("substance", "water"), "2": ("substance", "air"), "3": ("light bulb", "red light bulb")}
    seen = "a substance called air. a pot (containing a substance called water). a red light bulb, which is off"
    names = seen_names({"1": "substance in pot", "2": "air", "3": "light bulb in room"}, others, seen)
    assert names == {"1": "water", "2": "air", "3": "red light bulb"}


def test_what_a_thing_is_called_is_its_name_and_what_it_is_a_kind_of_is_not():
    air = seen_names(
        {"1": "air"}, {"1": ("substance", "air")}, "First, focus on the substance. A substance called air."
    )
    assert air == {"1": "air"}


def test_things_seen_under_one_name_are_told_apart_by_where_they_are():
    others = {
        "1": ("cup", "cup containing tea", "blue cup"),
        "2": ("cup", "cup containing soup", "red cup"),
        "3": ("tea", "pea"),
        "4": ("soup", "pea"),
    }
    made_up = {"1": "cup containing tea", "2": "red cup", "3": "pea in cup containing tea", "4": "pea in red cup"}
    names = seen_names(made_up, others, "a blue cup (containing a pea), a red cup (containing a pea)")
    assert names == {"1": "blue cup", "2": "red cup", "3": "pea in blue cup", "4": "pea in red cup"}


def test_a_holder_that_may_be_one_of_several_keeps_the_name_that_it_was_given():
    others = {"1": ("pot", "pot 1"), "2": ("pot", "pot 2"), "3": ("pea",), "4": ("pea",), "5": ("jar",)}
    made_up = {"1": "pot 1", "2": "pot 2", "3": "pea in pot", "4": "pea in jar", "5": "jar"}
    names = seen_names(made_up, others, "pot 1 (containing a pea), pot 2, a jar (containing a pea)")
    assert (names["3"], names["4"]) == ("pea in pot", "pea in jar")


def test_things_seen_under_one_name_are_told_apart_by_what_is_in_them():
    others = {
        "1": ("cup", "wood cup", "wood cup containing red paint"),
        "2": ("cup", "wood cup", "wood cup containing blue paint"),
    }
    made_up = {"1": "cup containing red paint in studio", "2": "cup containing blue paint"}
    names = seen_names(made_up, others, "a wood cup (containing red paint), a wood cup (containing blue paint)")
    assert names == {"1": "wood cup containing red paint", "2": "wood cup containing blue paint"}


def test_things_that_are_alike_in_one_place_are_called_alike():
    others = {"1": ("seed", "organism"), "2": ("organism", "seed"), "3": ("jar",)}
    made_up = {"1": "organism in jar", "2": "seed on jar", "3": "jar"}
    seen = "a jar (containing a seed, a seed)"
    assert seen_names(made_up, others, seen) == {"1": "seed in jar", "2": "seed in jar", "3": "jar"}


def test_things_of_other_names_are_never_called_alike():
    others = {"1": ("seed", "seed of pea"), "2": ("seed", "seed of bean"), "3": ("jar",)}
    made_up = {"1": "seed of pea in jar", "2": "seed of bean in jar", "3": "jar"}
    names = seen_names(made_up, others, "a jar (containing a seed, a seed)")
    assert names["1"] != names["2"]


def test_what_nothing_is_known_of_and_what_is_nowhere_keep_made_up_names():
    others = {"2": ("bee", "bee 1"), "3": ("bee", "bee 2")}
    made_up = {"1": "door to hall", "2": "bee 1", "3": "bee 2"}
    assert seen_names(made_up, others, "a bee, a bee") == made_up


def test_what_is_not_seen_is_called_by_a_name_of_its_own_without_repeated_words_or_contents():
    others = {
        "1": ("end", "end of wire", "wire wire end", "end containing nothing at all"),
        "2": ("end", "end of rope"),
    }
    names = seen_names({"1": "end in wire", "2": "rope end"}, others, "a wire, a rope")
    assert names == {"1": "end of wire", "2": "end of rope"}
