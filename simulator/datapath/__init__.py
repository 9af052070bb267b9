"""Values: executes a program's commands, bytes in, bytes out."""
