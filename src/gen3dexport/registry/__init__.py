"""Bundles in OCI registries: names, credentials, the distribution protocol, and a bundle as an artifact."""
