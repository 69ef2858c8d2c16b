"""When bad records are no accident any more."""

import pytest

from detector.errors import DeadLetterLimit
from detector.limit import FEW, WINDOW_S, DeadLetters
from detector.records import BadRecord, Partition

P = Partition("readings", 0)


def bad(*indices: int) -> list[BadRecord]:
    return [BadRecord(index, "schema", f"saw {index}") for index in indices]


def in_a_row(limit: int) -> DeadLetters:
    return DeadLetters(consecutive=limit, share=1)


def share_of(share: float) -> DeadLetters:
    return DeadLetters(consecutive=10**9, share=share)


def test_good_records_are_never_too_many() -> None:
    limit = DeadLetters(consecutive=1, share=0.01)
    for now_s in range(1000):
        limit.note(P, 1000, [], now_s)
    limit.note(P, 0, [], 1000)


@pytest.mark.parametrize("indices", [(0, 1, 2), (4, 5, 6), (7, 8, 9), range(10)])
def test_so_many_in_a_row_stop_it(indices: tuple[int, ...]) -> None:
    with pytest.raises(DeadLetterLimit, match=f"{len(indices)} bad records in a row.*is 3"):
        in_a_row(3).note(P, 10, bad(*indices), 0)


def test_one_good_record_in_between_is_no_row() -> None:
    limit = in_a_row(3)
    limit.note(P, 10, bad(0, 1, 3, 4, 6, 7, 9), 0)
    limit.note(P, 10, bad(0, 2, 3), 0)


def test_a_row_goes_on_across_chunks() -> None:
    limit = in_a_row(5)
    limit.note(P, 3, bad(1, 2), 0)
    limit.note(P, 2, bad(0, 1), 1)
    limit.note(P, 0, [], 2)
    with pytest.raises(DeadLetterLimit, match="5 bad records in a row"):
        limit.note(P, 2, bad(0), 1000)


def test_a_good_record_at_a_chunks_start_ends_the_row() -> None:
    limit = in_a_row(5)
    limit.note(P, 4, bad(0, 1, 2, 3), 0)
    limit.note(P, 5, bad(1, 2, 3, 4), 0)


def test_more_than_the_share_of_a_minute_stops_it() -> None:
    limit = share_of(0.5)
    limit.note(P, 100, bad(*range(0, 100, 2)), 0)
    with pytest.raises(DeadLetterLimit, match=r"51 of 101 records in a minute.*50%"):
        limit.note(P, 1, bad(0), WINDOW_S - 1)


def test_a_share_of_few_records_says_little() -> None:
    limit = share_of(0.01)
    limit.note(P, FEW - 1, bad(*range(FEW - 1)), 0)
    with pytest.raises(DeadLetterLimit):
        limit.note(P, 1, [], 0)


def test_every_minute_counts_from_the_start() -> None:
    limit = share_of(0.5)
    for minute in range(3):
        limit.note(P, FEW - 1, bad(*range(FEW - 1)), minute * WINDOW_S)


def test_what_stops_it_is_explained() -> None:
    with pytest.raises(DeadLetterLimit, match=r"\(schema\): saw 1; mend the producer, or raise"):
        in_a_row(2).note(P, 2, bad(0, 1), 0)


def test_each_partition_has_a_row_of_its_own() -> None:
    limit, other = in_a_row(3), Partition("readings", 1)
    limit.note(P, 2, bad(0, 1), 0)
    limit.note(other, 2, bad(0, 1), 0)
    limit.note(other, 5, [], 0)
    with pytest.raises(DeadLetterLimit, match="3 bad records in a row"):
        limit.note(P, 1, bad(0), 0)
