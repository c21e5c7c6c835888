"""Where an engine's workers live: as actors of Ray, or as processes of this machine."""
