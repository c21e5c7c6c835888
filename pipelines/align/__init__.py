"""Which stretches of which face become clips: the heart of the product."""
