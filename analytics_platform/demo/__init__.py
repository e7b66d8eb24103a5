"""The flight replay: real departures as events, and the answers they must lead to."""
