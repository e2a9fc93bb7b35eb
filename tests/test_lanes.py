"""Lanes: work side by side gives what work in turn gives."""

import threading

import pytest
import torch

from diffusion.lanes import in_lanes

CPU = torch.device("cpu")


def test_results_come_in_the_order_of_their_items(threads):
    assert list(in_lanes(lambda item: item**2, range(20), 20, CPU)) == [item**2 for item in range(20)]


def test_lanes_work_at_the_same_time_and_share_the_threads_of_pytorch(threads):
    """Every item waits until all lanes have one: it would wait for ever if they took turns."""
    lanes = min(threads, 2)
    together = threading.Barrier(lanes, timeout=60)

    def work(_):
        together.wait()
        return threading.get_ident(), torch.get_num_threads()

    found = list(in_lanes(work, range(lanes), 2, CPU))
    assert len({lane for lane, _ in found}) == lanes
    assert {inside for _, inside in found} == {max(1, threads // 2)} and torch.get_num_threads() == threads


def test_other_devices_have_one_lane(threads):
    lanes = in_lanes(lambda _: threading.get_ident(), range(4), 4, torch.device("cuda"))
    assert set(lanes) == {threading.get_ident()}


def test_items_are_taken_as_results_are(threads):
    """So that a progress bar over the items shows progress."""
    taken = []
    results = in_lanes(lambda item: item, (taken.append(item) or item for item in range(100)), 100, CPU)
    for number, _ in enumerate(results):
        assert len(taken) <= number + 1 + threads


def test_the_first_error_in_order_is_raised(threads):
    def work(item):
        if item in (3, 5):
            raise ValueError(f"item {item}")
        return item

    with pytest.raises(ValueError, match="item 3"):
        list(in_lanes(work, range(50), 50, CPU))


@pytest.mark.parametrize("enabled", [True, False])
def test_gradients_are_kept_where_the_caller_keeps_them(threads, enabled):
    with torch.set_grad_enabled(enabled):
        found = list(in_lanes(lambda _: torch.is_grad_enabled(), range(4), 4, CPU))
    assert found == [enabled] * 4
