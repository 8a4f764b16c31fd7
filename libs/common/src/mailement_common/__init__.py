"""Machinery that every service shares; knows no newsletter rule."""
