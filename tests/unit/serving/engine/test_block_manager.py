"""Blocks are owned, shared, released and found again, and the books balance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine.block_manager import BlockAccountingError, BlockManager


def test_block_0_is_never_given_away():
    blocks = BlockManager(5, 16, prefix_reuse=False)
    assert sorted(blocks.take(4)) == [1, 2, 3, 4]
    assert (blocks.num_free, blocks.num_used, blocks.num_total) == (0, 4, 4)
    with pytest.raises(BlockAccountingError, match="1 blocks asked for, 0 free"):
        blocks.take(1)


def test_releasing_twice_is_an_error():
    blocks = BlockManager(5, 16, prefix_reuse=False)
    taken = blocks.take(2)
    blocks.release(taken)
    with pytest.raises(BlockAccountingError, match="released twice"):
        blocks.release(taken)


def test_blocks_for_rounds_up():
    blocks = BlockManager(5, 16, prefix_reuse=False)
    assert [blocks.blocks_for(n) for n in (0, 1, 16, 17)] == [0, 1, 1, 2]


def remember(blocks: BlockManager, ids: list[int]) -> list[int]:
    """Take blocks for `ids`, register them and release them."""
    taken = blocks.take(blocks.blocks_for(len(ids)))
    assert blocks.index is not None
    blocks.index.register(ids, len(ids), taken, [])
    blocks.release(taken)
    return taken


def test_released_blocks_are_found_by_content_until_overwritten():
    blocks = BlockManager(5, 2, prefix_reuse=True)
    assert blocks.index is not None
    taken = remember(blocks, [1, 2, 3, 4])
    assert blocks.num_free == 4
    found, _ = blocks.index.match([1, 2, 3, 4, 5])
    assert found == taken
    assert blocks.num_free_beside(found) == 2
    blocks.share(found)
    assert blocks.num_used == 2
    blocks.take(2)
    blocks.release(found)
    blocks.take(1)  # the second block goes first: a prefix outlives what follows it
    assert blocks.index.match([1, 2, 3, 4, 5])[0] == taken[:1]


def test_the_last_token_is_never_reused_and_prefixes_must_match_from_the_start():
    blocks = BlockManager(9, 2, prefix_reuse=True)
    assert blocks.index is not None
    taken = remember(blocks, [1, 2, 3, 4])
    assert blocks.index.match([1, 2, 3, 4])[0] == taken[:1]
    assert blocks.index.match([1, 2, 9, 4, 5])[0] == taken[:1]
    assert blocks.index.match([3, 4, 5])[0] == []


def test_a_block_taken_anew_is_not_the_child_of_its_old_parent():
    blocks = BlockManager(3, 2, prefix_reuse=True)
    assert blocks.index is not None
    remember(blocks, [1, 2, 3, 4])
    parent_and_child = blocks.take(2)  # both forgotten
    blocks.release(parent_and_child)
    remember(blocks, [9, 9, 3, 4])
    assert blocks.index.match([1, 2, 3, 4, 5])[0] == []
    assert len(blocks.index.match([9, 9, 3, 4, 5])[0]) == 2


@given(st.lists(st.tuples(st.sampled_from(["take", "share", "release"]), st.integers(0, 5)), max_size=80))
def test_books_balance_whatever_happens(moves):
    blocks = BlockManager(12, 2, prefix_reuse=True)
    assert blocks.index is not None
    owned: list[list[int]] = []
    for move, number in moves:
        ids = [number, number, number + 1, number, 7]
        if move == "take" and blocks.num_free >= 3:
            taken = blocks.take(3)
            blocks.index.register(ids, 4, taken, [])
            owned.append(taken)
        elif move == "share":
            found, _ = blocks.index.match(ids)
            blocks.share(found)
            owned.append(found)
        elif move == "release" and owned:
            blocks.release(owned.pop(number % len(owned)))
        assert blocks.num_used == len({block for some in owned for block in some})
    for some in owned:
        blocks.release(some)
    blocks.check_idle()
