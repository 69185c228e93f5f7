"""What a machine has and lacks for a configuration: probes gather facts, pure checks judge them, a report tells."""
