"""Floor 4: the parts every flow needs, whichever package its layers come from."""
