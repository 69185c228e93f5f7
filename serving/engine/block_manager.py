"""Who owns which block of the paged KV cache. Pure ints and lists; knows no sequences and no tokens.

Block 0 is reserved for padding. With prefix reuse a block can have several owners, and a block without owners stays
findable by its content until its memory is needed, oldest first.
"""

from __future__ import annotations

from serving.engine.prefix_index import PrefixIndex


class BlockAccountingError(AssertionError):
    """The books do not balance: a bug, never a matter of load."""


class BlockManager:
    """Free list, owner counts and, if asked for, the prefix index."""

    def __init__(self, num_blocks: int, block_size: int, prefix_reuse: bool) -> None:
        self.num_total = num_blocks - 1
        self.block_size = block_size
        self.index = PrefixIndex(block_size) if prefix_reuse else None
        self._free = list(range(num_blocks - 1, 0, -1))  # contents of no use
        self._reusable: dict[int, None] = {}  # without owner, contents known; oldest first
        self._owners = [0] * num_blocks

    @property
    def num_free(self) -> int:
        """Blocks that can be taken now."""
        return len(self._free) + len(self._reusable)

    @property
    def num_used(self) -> int:
        """Blocks with at least one owner."""
        return self.num_total - self.num_free

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that so many tokens fill."""
        return -(-num_tokens // self.block_size)

    def num_free_beside(self, blocks: list[int]) -> int:
        """Blocks that could be taken once `blocks` (found by content) have been shared."""
        return self.num_free - sum(not self._owners[block] for block in blocks)

    def take(self, count: int) -> list[int]:
        """So many blocks of one owner. Raises BlockAccountingError if there are not enough: ask num_free first."""
        if count > self.num_free:
            raise BlockAccountingError(f"{count} blocks asked for, {self.num_free} free")
        taken = []
        for _ in range(count):
            block = self._free.pop() if self._free else self._evict()
            self._owners[block] = 1
            taken.append(block)
        return taken

    def _evict(self) -> int:
        block = next(iter(self._reusable))
        del self._reusable[block]
        assert self.index is not None
        self.index.forget(block)
        return block

    def share(self, blocks: list[int]) -> None:
        """One more owner for blocks found by content."""
        for block in blocks:
            self._reusable.pop(block, None)
            self._owners[block] += 1

    def release(self, blocks: list[int]) -> None:
        """One owner less; last block first, so that a prefix outlives what follows it."""
        for block in reversed(blocks):
            owners = self._owners[block] - 1
            if owners < 0:
                raise BlockAccountingError(f"block {block} released twice")
            self._owners[block] = owners
            if owners == 0:
                if self.index is not None and self.index.knows(block):
                    self._reusable[block] = None
                else:
                    self._free.append(block)

    def check_idle(self) -> None:
        """Raise BlockAccountingError unless every block is free exactly once."""
        free = sorted([*self._free, *self._reusable])
        if free != list(range(1, self.num_total + 1)) or any(self._owners):
            owned = [block for block, count in enumerate(self._owners) if count]
            raise BlockAccountingError(
                f"idle, yet {len(free)} of {self.num_total} blocks are free; owned: {owned[:20]}"
            )
