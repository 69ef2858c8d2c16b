"""How far each partition was read and committed."""

import pytest

from detector.ledger import Ledger
from detector.records import Partition

A, B = Partition("readings", 0), Partition("readings", 1)


def test_what_was_read_and_not_committed_is_due() -> None:
    ledger = Ledger()
    assert ledger.due() == {}
    ledger.note_read(A, 5)
    ledger.note_read(B, 7)
    assert ledger.due() == {A: 5, B: 7}
    ledger.note_committed({A: 5})
    assert ledger.due() == {B: 7}
    ledger.note_read(A, 6)
    assert ledger.due() == {A: 6, B: 7}


def test_what_was_read_during_a_commit_stays_due() -> None:
    ledger = Ledger()
    ledger.note_read(A, 5)
    due = ledger.due()
    ledger.note_read(A, 9)
    ledger.note_committed(due)
    assert ledger.due() == {A: 9}


def test_reading_never_goes_back() -> None:
    ledger = Ledger()
    ledger.note_read(A, 5)
    ledger.note_read(A, 5)
    with pytest.raises(ValueError, match="up to 5 and now only up to 4"):
        ledger.note_read(A, 4)
    assert ledger.due() == {A: 5}


def test_a_forgotten_partition_owes_nothing_and_may_begin_anywhere() -> None:
    ledger = Ledger()
    ledger.note_read(A, 5)
    ledger.note_committed(ledger.due())
    ledger.note_read(A, 8)
    ledger.forget(A)
    ledger.forget(B)
    assert ledger.due() == {}
    ledger.note_read(A, 5)
    assert ledger.due() == {A: 5}
