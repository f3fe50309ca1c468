"""A bundle measured on another machine: over ssh, over adb, or in an emulator of its processor. No torch."""
