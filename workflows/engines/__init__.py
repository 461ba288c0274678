"""DFT engines behind one protocol."""
