"""From a chemical system to surface records: structures, DFT engines, analysis, flows, command line."""
