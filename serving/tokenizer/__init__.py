"""Text to token ids and back, for every tokenizer file a served model may bring."""
