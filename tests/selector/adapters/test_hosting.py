"""How a tool ended that raised, whatever else was being handled at that moment."""

from selector.adapters.hosting import outcome_of


def raised(*, within: BaseException, is_hidden: bool) -> Exception:
    try:
        try:
            raise within
        except type(within):
            if is_hidden:
                raise ValueError("no such path") from None
            raise ValueError("no such path")  # noqa: B904 - what is raised without a word of its cause is meant
    except ValueError as error:
        return error


def test_a_timeout_that_led_to_an_error_makes_it_a_timeout():
    assert outcome_of(raised(within=TimeoutError(), is_hidden=False)) == "timeout"


def test_an_error_that_disowns_what_was_handled_before_it_is_an_error():
    assert outcome_of(raised(within=TimeoutError(), is_hidden=True)) == "tool_error"
