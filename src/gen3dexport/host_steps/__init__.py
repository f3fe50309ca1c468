"""Host steps, which a manifest has as data (`documents.host_steps`): their interpreter, and conformance kits."""
