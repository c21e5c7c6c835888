"""What a person sees of a run: the yield funnel, the state, the progress."""
