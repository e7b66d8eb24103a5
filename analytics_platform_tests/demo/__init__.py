"""Tests of the flight replay and its answers."""
