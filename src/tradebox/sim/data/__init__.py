"""The real bars that the simulator ships and replays; see PROVENANCE.md."""
