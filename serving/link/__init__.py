"""What crosses from the engine to an agent: framed messages over TCP, arrays in shared memory."""
