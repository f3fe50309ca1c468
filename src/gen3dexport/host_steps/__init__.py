"""Host steps, which a manifest has as data (`documents.host_steps`): their reference interpreter and conformance kits."""
