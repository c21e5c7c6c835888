"""How much may be asked, and through which way out."""
