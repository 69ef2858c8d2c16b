"""The short form of `make chaos`: a few seeds, so that a change that breaks the promise is seen.

Seeds that once found a fault stay here for good.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_chaos import World, line

# 106: a state partition without news never ended. 107: static members overlooked partitions.
SEEDS = (106, 107)


@pytest.fixture(scope="module")
def world(small_model: Path) -> Iterator[World]:
    if "KAFKA_HOME" not in os.environ:
        pytest.skip("KAFKA_HOME does not point at an Apache Kafka; Tansu fences nobody")
    made = World(small_model)
    yield made
    made.close()


@pytest.mark.broker
@pytest.mark.parametrize(("seed", "more"), [*((seed, False) for seed in SEEDS), (1, True)])
def test_nobody_can_tell(world: World, tmp_path: Path, seed: int, *, more: bool) -> None:
    """More: records of one value, a model of its own for some streams, a candidate beside."""
    outcome = world.run(seed, tmp_path, long=more, apart=more)
    assert outcome.good, "\n".join([line(outcome), *outcome.verdict.examples])
    assert outcome.kills > 0
    assert outcome.verdict.alerts > 0
