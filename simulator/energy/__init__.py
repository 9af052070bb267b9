"""What an action costs, in picojoules: sourced tables, scaled to a device's node and voltage."""
