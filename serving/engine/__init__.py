"""The engine: queue, scheduler, blocks, worker. Knows no HTTP, no tokenizer and no model."""
