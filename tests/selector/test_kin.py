"""What is left out together, so that weights are earned on new things too."""

from selector.kin import MOST_KIN, Kinship
from trajstore.schema import Step, Task, Trajectory


def about(thing: str, verb: str = "boil") -> Trajectory:
    steps = (Step(0, "take", "a room", args={"object": thing}), Step(1, "heat", "a room", args={"object": "pot"}))
    return Trajectory(Task(f"{verb} the {thing} in the pot", f"{verb} {thing}"), steps, success=True)


def kinship(trajectories: list[Trajectory]) -> Kinship:
    return Kinship(trajectories, {str(number): [number] for number in range(len(trajectories))})


def test_tasks_about_the_same_rare_thing_are_kin() -> None:
    others = [about(f"thing{letter}") for letter in "abcdefgh"]
    kin = kinship([about("milk"), about("tea"), about("milk", "freeze"), *others])
    assert kin.of("0") == (0, 2)
    assert kin.of("2") == (0, 2)


def test_a_thing_that_no_other_task_names_has_no_kin() -> None:
    kin = kinship([about(f"thing{letter}") for letter in "abcdefgh"])
    assert kin.of("3") == (3,)


def test_what_is_done_makes_no_kin_only_what_it_is_done_with() -> None:
    """ "freeze" is as rare as "milk", and no step acts on it."""
    others = [about(f"thing{letter}") for letter in "abcdefgh"]
    kin = kinship([about("milk", "freeze"), about("tea", "freeze"), *others])
    assert kin.of("0") == (0,)


def test_what_many_tasks_name_is_not_rare() -> None:
    few = kinship([about("milk") for _ in range(3)])
    assert few.of("1") == (1,)
    many = kinship([about("milk") for _ in range(MOST_KIN + 1)] + [about(f"thing{n}") for n in range(4 * MOST_KIN)])
    assert many.of("1") == (1,)


def test_all_trajectories_of_a_unit_go_together() -> None:
    trajectories = [about("milk"), about("milk", "freeze"), about("milk"), *(about(f"x{n}y") for n in range(9))]
    units = {"first": [0, 2], "second": [1], **{f"other{n}": [3 + n] for n in range(9)}}
    assert Kinship(trajectories, units).of("second") == (0, 2, 1)


def test_what_the_tasks_that_read_alike_name_too_makes_no_kin() -> None:
    lamps = [f"light the {colour} lamp in the workshop" for colour in ("red", "red", "blue", "green", "black", "white")]
    boxes = [f"carry the box number {number} out of the cellar" for number in range(60)]
    steps = tuple(Step(0, "use", "a room", args={"object": text}) for text in lamps + boxes)
    kin = kinship(
        [Trajectory(Task(text), (step,), success=True) for text, step in zip(lamps + boxes, steps, strict=True)]
    )
    assert kin.of("0") == (0, 1), '"lamp" is as rare as can be, and every task about a lamp names it'
    assert kin.of("2") == (2,)


def test_what_is_usual_is_the_same_for_all_that_are_compared_and_for_a_sample() -> None:
    trajectories = [about(f"thing{number // 2}") for number in range(2 * 1_100)]
    kin = kinship(trajectories)
    assert kin.of("7") == (6, 7)
