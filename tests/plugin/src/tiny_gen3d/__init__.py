"""What another package adds to gen3dexport: the family `sphere` and the backend `exported`."""
