"""Processes side by side, each on a thread of its own: a step is too small to share."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """Lend `jobs` processes, of 1 this one; what is not begun when one fails never is."""
    pool: Executor = ThreadPoolExecutor(1)
    if jobs > 1:
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, spawn, torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
