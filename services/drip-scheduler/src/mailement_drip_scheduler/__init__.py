"""Enrols subscribers in drips and turns due steps into messages."""
