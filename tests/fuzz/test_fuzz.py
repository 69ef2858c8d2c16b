"""The short form of `make fuzz`."""

from pathlib import Path

import pytest
from mutate import Mutator
from run_fuzz import Tally, fuzz, through_kafka


def test_every_record_is_accounted_for(small_model: Path) -> None:
    total = Tally()
    for tally in fuzz(small_model, 20_000, seed=2):
        total.add(tally)
    assert (total.unaccounted, total.crashes) == (0, 0)
    assert total.records == 20_000
    assert min(total.scored, total.late, total.dead) > 1000


@pytest.mark.broker
def test_every_record_is_accounted_for_through_a_broker(small_model: Path, tmp_path: Path) -> None:
    tally = through_kafka(small_model, Mutator(3).records(2000), tmp_path)
    assert (tally.records, tally.unaccounted, tally.crashes) == (2000, 0, 0)
