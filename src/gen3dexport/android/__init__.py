"""Bundles on Android: a Gradle project whose application makes assets with an ExecuTorch bundle."""
