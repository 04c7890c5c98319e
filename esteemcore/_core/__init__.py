"""What every part of the core shares: errors, provenance, progress and the checks at the door."""
