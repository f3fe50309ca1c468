"""What a pipeline does on the host between its programs, as data: a manifest has it, and any language can follow it."""
