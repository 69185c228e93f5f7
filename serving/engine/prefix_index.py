"""Which full blocks hold which tokens, for reuse by prompts that begin alike. Knows no sequences and no free list.

A block's key is (content id of the block before it, its tokens): exact, so two contents never collide. Content ids are
never reused, so the children of a forgotten block can never be found again.
"""

from __future__ import annotations

from collections.abc import Sequence


class PrefixIndex:
    """Exact index from chains of full blocks to block numbers."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._blocks: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}  # key -> (block, content id)
        self._keys: dict[int, tuple[int, tuple[int, ...]]] = {}  # block -> key
        self._next_content = 1

    def match(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """(blocks, content ids) of the longest known prefix of `ids` in full blocks; the last token is never in it."""
        size = self._block_size
        blocks: list[int] = []
        chain: list[int] = []
        for start in range(0, (len(ids) - 1) // size * size, size):
            found = self._blocks.get((chain[-1] if chain else 0, tuple(ids[start : start + size])))
            if found is None:
                break
            blocks.append(found[0])
            chain.append(found[1])
        return blocks, chain

    def register(self, ids: Sequence[int], num_computed: int, blocks: Sequence[int], chain: list[int]) -> None:
        """Make known the full blocks within the first `num_computed` tokens; `chain` is extended to match."""
        size = self._block_size
        for number in range(len(chain), num_computed // size):
            key = (chain[-1] if chain else 0, tuple(ids[number * size : (number + 1) * size]))
            found = self._blocks.get(key)
            if found is None:
                found = (blocks[number], self._next_content)
                self._next_content += 1
                self._blocks[key] = found
                self._keys[blocks[number]] = key
            chain.append(found[1])

    def knows(self, block: int) -> bool:
        """Whether the block can still be found by its content."""
        return block in self._keys

    def forget(self, block: int) -> None:
        """The block is about to be overwritten."""
        del self._blocks[self._keys.pop(block)]
